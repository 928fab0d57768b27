package parent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/stall"
)

// Classic is how an incumbent's server is spoken to: a PUT with nothing of ours
// but the name and the bytes, and with HTTP Basic if there is a user. 200, 201 and
// 204 count as delivery, by [uploads.LevelUnproven]; whatever else it answers is
// its trouble and never a verdict on the file, since it says no more than what
// stands in between would.
//
// A location that answers as only a beacon of ours does is spoken to as one from
// then on.
type Classic struct {
	User, Password string
	// Proven keeps which locations are ours after all. Required.
	Proven *Proven
	// Log defaults to discarding.
	Log *slog.Logger

	mu    sync.Mutex
	named map[string]uploads.Digest // what was sent lately, by kind and name
}

// maxNamed bounds the names that are remembered. With more, fewer files of one
// name and other bytes can replace one that was not imported yet; each costs some
// 200 bytes.
const maxNamed = 4096

// put sends a file to a location. A kept-alive connection that turns out to be
// dead costs one more attempt, here: the repeat replaces the same bytes.
func (c *Classic) put(ctx context.Context, client *Client, at Location, p uploads.Parcel) (uploads.Receipt, error) {
	r, stale, err := c.attempt(ctx, client, at, p)
	if stale && ctx.Err() == nil {
		client.client().CloseIdleConnections()
		r, _, err = c.attempt(ctx, client, at, p)
	}
	return r, err
}

func (c *Classic) attempt(ctx context.Context, client *Client, at Location, p uploads.Parcel) (r uploads.Receipt, stale bool, err error) {
	body, err := p.Open()
	if err != nil {
		return r, false, fmt.Errorf("open upload %d: %w", p.Seq, err)
	}
	defer body.Close()
	ctx, watch := stall.New(ctx, client.limits())
	defer watch.Stop()
	var reused bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	req, err := c.request(ctx, at, p.Upload)
	if err != nil {
		return r, false, err
	}
	lent := uploads.Lend(watch.Reader(uploads.Verify(body, p.Size, p.Digest), p.Size))
	defer lent.TakeBack()
	switch {
	case p.Size > 0:
		req.Body, req.ContentLength = io.NopCloser(lent), p.Size
	case p.Digest != uploads.DigestOf(nil):
		return r, false, fmt.Errorf("upload %d: %w", p.Seq, uploads.ErrDigest)
	}
	resp, err := client.client().Do(req)
	if err != nil {
		err = stall.Cause(ctx, err)
		_, stalled := errors.AsType[*stall.Error](err)
		return r, reused && !stalled && !errors.Is(err, uploads.ErrDigest), err
	}
	defer resp.Body.Close()
	watch.Moved()
	r, err = c.judge(resp, at, p.Upload)
	return r, false, err
}

func (c *Classic) request(ctx context.Context, at Location, u uploads.Upload) (*http.Request, error) {
	bare := Client{}
	u.Name = c.name(u)
	req, err := bare.request(ctx, http.MethodPut, at, u)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if c.User != "" {
		req.SetBasicAuth(c.User, c.Password)
	}
	return req, nil
}

// name returns under which name a file goes. Such a server replaces a file by
// another of its name, so that of two with other bytes the second one gets its
// digest into its name, as in a directory.
func (c *Classic) name(u uploads.Upload) uploads.Name {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := u.Kind + "/" + u.Name.Key()
	first, sent := c.named[key]
	if sent && first != u.Digest {
		if n, err := uploads.ParseName(u.Name.Stem() + "." + u.Digest.String()[:8] + u.Name.Suffix()); err == nil {
			return n
		}
	}
	if len(c.named) >= maxNamed || c.named == nil {
		c.named = map[string]uploads.Digest{}
	}
	c.named[key] = u.Digest
	return u.Name
}

// judge reads an answer. A beacon of ours gives itself away by a receipt for this
// very file or by a problem document; then its word counts as it does elsewhere.
func (c *Classic) judge(resp *http.Response, at Location, u uploads.Upload) (uploads.Receipt, error) {
	now := time.Now()
	switch resp.StatusCode {
	case http.StatusOK:
		if r, err := receiptIn(resp, at, u); err == nil {
			return r, c.prove(at, now)
		} else if _, cut := errors.AsType[*CutError](err); cut {
			return uploads.Receipt{}, err
		}
	case http.StatusCreated, http.StatusNoContent:
	default:
		return uploads.Receipt{}, c.refusal(resp, at, now)
	}
	r := u.Receipt()
	r.Beacon, r.Received = at.Name, now.UTC()
	r.Custody = []uploads.Custody{{Level: uploads.LevelUnproven, Beacon: at.Name, At: r.Received}}
	return r, nil
}

func (c *Classic) refusal(resp *http.Response, at Location, now time.Time) error {
	after, asked := problem.RetryAfter(resp.Header, now)
	if d, ok := problem.Read(resp); ok {
		return errors.Join(judge(at.Name, d, after, asked), c.prove(at, now))
	}
	var err error = &AnswerError{Location: at.Name, Status: resp.StatusCode, Why: hint(resp.StatusCode)}
	if asked {
		err = &uploads.RetryError{After: after, Err: err}
	}
	return err
}

func (c *Classic) prove(at Location, now time.Time) error {
	if err := c.Proven.note(at.Root, now); err != nil {
		return err
	}
	if c.Log != nil {
		c.Log.Warn("a server that is configured as an incumbent's is a beacon of ours; it is spoken to as one from now on", slog.String("beacon", at.Name), slog.String("url", at.Root))
	}
	return nil
}

// hint says what an answer of an incumbent's server most likely means.
func hint(status int) string {
	switch {
	case status/100 == 3:
		return "a redirect, which an upload never follows: use the final address"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "it refuses the user, the password or the address: set user and password of the destination"
	case status == http.StatusNotFound:
		return "there is no such folder: is the address that of the upload root, and does it take this kind?"
	case status == http.StatusMethodNotAllowed:
		return "it does not take PUT there: is WebDAV in the way?"
	case status == http.StatusConflict:
		return "it refuses with a conflict: do its download and upload roots differ in authentication?"
	case status == http.StatusRequestEntityTooLarge:
		return "the file is too large for it: raise its limit (maxDownloadMessageSizekB)"
	}
	return "no success"
}
