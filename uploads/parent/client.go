package parent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/stall"
)

// A Location is a beacon's upload root, for example
// https://b1.example.com/ManageSoftRL.
type Location struct {
	Name string
	Root string
}

// A Client speaks the upload protocol. It keeps no state of the files it sends
// and may be used from several goroutines.
type Client struct {
	// HTTP makes the requests; nil means a client of the package's own. Its
	// redirect policy is not used: a redirect is never followed.
	HTTP *http.Client
	// Identity is added to the beacons that a file has passed; empty in an agent.
	Identity string
	// Header, if set, completes every request, for example with Beacon-Agent.
	Header func(http.Header)
	// Limits bound how long a request may stand still; zero means [stall.Default].
	Limits stall.Limits
	// Resume sends large files so that they can be resumed; nil sends every file whole.
	Resume *Resuming
}

// A CutError is a connection that failed after bytes of the body may have
// arrived, so that the file may be held already.
type CutError struct{ Err error }

func (e *CutError) Error() string { return e.Err.Error() }

// Unwrap returns the failure.
func (e *CutError) Unwrap() error { return e.Err }

// expectContinueBytes is from which size on a body waits for the beacon's word
// before it is sent. Below it, the wait costs more than a refused body.
const expectContinueBytes = 1 << 20

// Put sends a file and returns the beacon's receipt. open is called once per
// attempt, and so is the Body's Close.
//
// A kept-alive connection that turns out to be dead costs one more attempt on
// a fresh one, here.
func (c *Client) Put(ctx context.Context, at Location, u uploads.Upload, open func() (uploads.Body, error)) (uploads.Receipt, error) {
	if c.Resume.wants(at, u, time.Now()) {
		if r, spoken, err := c.resume(ctx, at, u, open); spoken {
			return r, err
		}
	}
	receipt, err := c.putWhole(ctx, at, u, open)
	if bare413(err) && c.Resume != nil && u.Size > smallestPart {
		c.Resume.learn(at, func(m *manner) { m.part = smallestPart })
		if r, spoken, rerr := c.resume(ctx, at, u, open); spoken {
			return r, rerr
		}
	}
	return receipt, err
}

func (c *Client) putWhole(ctx context.Context, at Location, u uploads.Upload, open func() (uploads.Body, error)) (uploads.Receipt, error) {
	receipt, stale, err := c.put(ctx, at, u, open)
	if !stale || ctx.Err() != nil {
		return receipt, err
	}
	c.client().CloseIdleConnections()
	if _, begun := errors.AsType[*CutError](err); begun {
		switch held, asking := c.Held(ctx, at, u); {
		case asking != nil:
			return uploads.Receipt{}, err
		case held:
			return Implied(at, u, time.Now()), nil
		}
	}
	receipt, _, err = c.put(ctx, at, u, open)
	return receipt, err
}

// put makes one attempt. stale says that it failed on a connection that had
// been kept alive, before there was an answer.
func (c *Client) put(ctx context.Context, at Location, u uploads.Upload, open func() (uploads.Body, error)) (r uploads.Receipt, stale bool, err error) {
	body, err := open()
	if err != nil {
		return r, false, fmt.Errorf("open upload %d: %w", u.Seq, err)
	}
	ctx, watch := stall.New(ctx, c.limits())
	defer watch.Stop()
	var reused bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	sent := &sentBody{Reader: watch.Reader(uploads.Verify(body, u.Size, u.Digest), u.Size), body: body}
	req, err := c.request(ctx, http.MethodPut, at, u)
	if err != nil {
		body.Close()
		return r, false, err
	}
	if u.Size == 0 { // net/http takes a zero ContentLength with a body for "unknown"
		body.Close()
		if u.Digest != uploads.DigestOf(nil) {
			return r, false, fmt.Errorf("upload %d: %w", u.Seq, uploads.ErrDigest)
		}
		req.Body, sent = http.NoBody, nil
	} else {
		req.Body, req.ContentLength = sent, u.Size
	}
	origin(req.Header, u, c.Identity)
	resp, err := c.client().Do(req)
	if err != nil {
		err = cutOrWrong(stall.Cause(ctx, err), sent)
		_, stalled := errors.AsType[*stall.Error](err)
		return r, reused && !stalled && !errors.Is(err, uploads.ErrDigest), err
	}
	defer resp.Body.Close()
	watch.Moved()
	r, err = receiptIn(resp, at, u)
	return r, false, err
}

// cutOrWrong says whether the bytes were at fault or the connection.
func cutOrWrong(err error, sent *sentBody) error {
	switch {
	case sent == nil, errors.Is(err, uploads.ErrDigest):
		return err
	case sent.begun.Load():
		return &CutError{err}
	}
	return err
}

// origin sets the headers that say what is sent and where it has been.
func origin(h http.Header, u uploads.Upload, self string) {
	h.Set(hop.DigestHeader, hop.FormatDigest(u.Digest))
	h.Set("Content-Type", "application/octet-stream")
	if u.Size >= expectContinueBytes {
		h.Set("Expect", "100-continue")
	}
	if o := hop.OriginOf(u).String(); o != "" {
		h.Set(hop.OriginHeader, o)
	}
	via := u.Via
	if self != "" {
		via = append(via[:len(via):len(via)], self)
	}
	if len(via) > 0 {
		h.Set(hop.ViaHeader, hop.FormatVia(via))
	}
}

// Held asks whether the location holds these very bytes under this name, or
// has delivered them. An answer that is not a beacon's counts as no.
func (c *Client) Held(ctx context.Context, at Location, u uploads.Upload) (bool, error) {
	ctx, watch := stall.New(ctx, c.limits())
	defer watch.Stop()
	req, err := c.request(ctx, http.MethodHead, at, u)
	if err != nil {
		return false, err
	}
	req.URL.RawQuery = "sha256=" + u.Digest.String()
	resp, err := c.client().Do(req)
	if err != nil {
		return false, stall.Cause(ctx, err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, nil
	}
	d, ok, err := hop.ParseDigest(resp.Header.Values(hop.DigestHeader))
	return err == nil && ok && d == u.Digest, nil
}

// Implied is the receipt of a file that the location said it holds without
// giving the receipt itself.
func Implied(at Location, u uploads.Upload, now time.Time) uploads.Receipt {
	r := u.Receipt()
	r.Received, r.Beacon, r.Duplicate = now.UTC(), at.Name, true
	r.Custody = []uploads.Custody{{Level: uploads.LevelBeacon, Beacon: at.Name, At: r.Received}}
	return r
}

func (c *Client) request(ctx context.Context, method string, at Location, u uploads.Upload) (*http.Request, error) {
	root, err := url.Parse(at.Root)
	if err != nil {
		return nil, fmt.Errorf("location %s: %w", at.Name, err)
	}
	address := root.JoinPath(escape(u.Kind), escape(u.Name.String()))
	req, err := http.NewRequestWithContext(ctx, method, address.String(), nil)
	if err != nil {
		return nil, err
	}
	if c.Header != nil {
		c.Header(req.Header)
	}
	return req, nil
}

// escape percent-encodes everything that some server on the way reads as
// something else, the plus among it.
func escape(segment string) string {
	return strings.ReplaceAll(url.PathEscape(segment), "+", "%2B")
}

// maxReceiptBytes bounds what is read of an answer.
const maxReceiptBytes = 64 << 10

// receiptIn returns the receipt that the answer holds, or what else it says.
func receiptIn(resp *http.Response, at Location, u uploads.Upload) (uploads.Receipt, error) {
	if resp.StatusCode != http.StatusOK {
		return uploads.Receipt{}, refusalIn(resp, at)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReceiptBytes))
	if err != nil {
		return uploads.Receipt{}, &CutError{fmt.Errorf("read receipt: %w", err)}
	}
	var r uploads.Receipt
	if json.Unmarshal(b, &r) != nil || r.ID != uploads.ReceiptID(u.Kind, u.Name, u.Digest) || r.SHA256 != u.Digest || !strings.EqualFold(r.Name, u.Name.String()) {
		return uploads.Receipt{}, &AnswerError{Location: at.Name, Status: resp.StatusCode, Why: "not a receipt for this file: is there a proxy or portal in between?"}
	}
	return r, nil
}

func refusalIn(resp *http.Response, at Location) error {
	after, asked := problem.RetryAfter(resp.Header, time.Now())
	if d, ok := problem.Read(resp); ok {
		return judge(at.Name, d, after, asked)
	}
	why := "not a beacon's answer"
	if resp.StatusCode/100 == 3 {
		why = "a redirect, which an upload never follows: use the final address"
	}
	var err error = &AnswerError{Location: at.Name, Status: resp.StatusCode, Why: why}
	if asked {
		err = &uploads.RetryError{After: after, Err: err}
	}
	return err
}

func (c *Client) limits() stall.Limits {
	if c.Limits == (stall.Limits{}) {
		return stall.Default
	}
	return c.Limits
}

// client returns a copy of the HTTP client that follows no redirect.
func (c *Client) client() *http.Client {
	h := *shared
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}

// shared is for clients that bring none.
var shared = &http.Client{Transport: NewTransport()}

// NewTransport returns a transport that suits uploads.
func NewTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 32                // a relay's workers; fewer costs handshakes, more costs the parent sockets
	t.DisableCompression = true               // receipts are small
	t.ExpectContinueTimeout = 2 * time.Second // a peer that ignores Expect costs this much per large body
	return t
}

// sentBody is a request's body. begun says that its bytes may have left.
type sentBody struct {
	io.Reader
	body  uploads.Body
	begun atomic.Bool
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.begun.Store(true)
	}
	return n, err
}

// Close implements [io.Closer]; the transport calls it, also on failure.
func (b *sentBody) Close() error { return b.body.Close() }
