package parent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/resumable/partial"
	"inventorybeacon/uploads/stall"
)

// partsFolder is where a beacon keeps uploads in parts, below its upload root.
const partsFolder = ".resumable"

// A transfer is one file on its way to one location.
type transfer struct {
	c    *Client
	at   Location
	u    uploads.Upload
	body uploads.Body

	id     string // of the upload there; empty before it is begun
	known  bool   // offset is what the location said, and nothing was sent since
	offset int64
	most   int64 // the location's own bound on a request; 0 means none
	sent   int64 // bytes of the request that was cut
}

// once goes from whatever is known of the upload to its receipt.
func (t *transfer) once(ctx context.Context) (uploads.Receipt, error) {
	if t.id == "" {
		if r, done, err := t.find(ctx); done || err != nil {
			return r, err
		}
	}
	if t.id == "" {
		if r, done, err := t.begin(ctx); done || err != nil {
			return r, err
		}
	}
	for still := 0; still <= maxStill; {
		if !t.known {
			if err := t.ask(ctx); err != nil {
				return uploads.Receipt{}, err
			}
		}
		from := t.offset
		if r, done, err := t.send(ctx); done || err != nil {
			return r, err
		}
		if still++; t.offset > from {
			still = 0
		}
	}
	return uploads.Receipt{}, &AnswerError{Location: t.at.Name, Status: http.StatusNoContent, Why: "takes parts of a file, and they do not add up"}
}

// maxStill is how many answers in a row may leave an upload where it was: one
// that says where it really is, and one that wants smaller parts.
const maxStill = 3

// find asks whether the location has the file, or a part of it.
func (t *transfer) find(ctx context.Context) (r uploads.Receipt, done bool, err error) {
	req, err := t.c.request(ctx, http.MethodHead, t.at, t.u)
	if err != nil {
		return r, false, err
	}
	req.URL.RawQuery = "sha256=" + t.u.Digest.String()
	origin(req.Header, t.u, t.c.Identity)
	req.Header.Del("Expect")
	resp, err := t.do(req)
	if err != nil {
		return r, false, err
	}
	defer resp.Body.Close()
	d, ok, derr := hop.ParseDigest(resp.Header.Values(hop.DigestHeader))
	switch {
	case resp.StatusCode == http.StatusOK && derr == nil && ok && d == t.u.Digest:
		return Implied(t.at, t.u, time.Now()), true, nil
	case resp.StatusCode == http.StatusNotFound:
		t.id = idIn(resp)
	}
	return r, false, nil
}

// idIn returns what an answer calls the upload. Where that lies below this
// location's root we know ourselves: a proxy may have put the root elsewhere.
func idIn(resp *http.Response) string {
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return ""
	}
	dir, id := path.Split(u.Path)
	if !strings.EqualFold(path.Base(dir), partsFolder) || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return ""
	}
	return id
}

// begin makes an upload at the location. It is made by POST: a server that does
// not know better would take a PUT for an empty file.
func (t *transfer) begin(ctx context.Context) (r uploads.Receipt, done bool, err error) {
	req, err := t.c.request(ctx, http.MethodPost, t.at, t.u)
	if err != nil {
		return r, false, err
	}
	origin(req.Header, t.u, t.c.Identity)
	req.Header.Del("Expect")
	req.Header.Set(partial.Complete, partial.FormatBool(false))
	req.Header.Set(partial.Length, partial.FormatInt(t.u.Size))
	req.Body = http.NoBody
	resp, err := t.do(req)
	if err != nil {
		return r, false, err
	}
	defer resp.Body.Close()
	switch id := idIn(resp); {
	case resp.StatusCode == http.StatusCreated && id != "":
		t.limit(resp)
		t.id, t.offset, t.known = id, 0, true
		return r, false, nil
	case resp.StatusCode == http.StatusOK:
		if r, err = receiptIn(resp, t.at, t.u); err == nil {
			return r, true, nil
		}
		return r, false, errUnspoken
	}
	return r, false, t.refused(resp)
}

// refused makes an answer that is neither progress nor a receipt an error. What
// could be the answer of somebody who does not know of parts leaves the word to a
// plain PUT.
func (t *transfer) refused(resp *http.Response) error {
	d, ours := problem.Read(resp)
	plain := resp.StatusCode/100 != 5 && resp.StatusCode != http.StatusRequestTimeout && resp.StatusCode != http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusNotImplemented
	if ours {
		plain = d.Code == problem.BadRequest || d.Code == problem.MethodNotAllowed || d.Code == problem.NotFound
	}
	if plain {
		switch resp.StatusCode {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
			t.c.Resume.learn(t.at, func(m *manner) { m.plain = time.Now().Add(plainFor) })
		}
		return errUnspoken
	}
	if !ours {
		return refusalIn(resp, t.at)
	}
	after, asked := problem.RetryAfter(resp.Header, time.Now())
	return judge(t.at.Name, d, after, asked)
}

// ask learns how far the upload has got.
func (t *transfer) ask(ctx context.Context) error {
	req, err := t.part(ctx, http.MethodHead)
	if err != nil {
		return err
	}
	resp, err := t.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNoContent:
		return t.moved(resp)
	case http.StatusNotFound, http.StatusGone:
		return errForgotten
	}
	return t.refused(resp)
}

// moved takes over the offset that the location gives.
func (t *transfer) moved(resp *http.Response) error {
	offset, ok := partial.ParseInt(resp.Header.Values(partial.Offset))
	switch {
	case !ok: // somebody in between drops the fields
		t.c.Resume.learn(t.at, func(m *manner) { m.plain = time.Now().Add(plainFor) })
		return errUnspoken
	case offset > t.u.Size:
		return errForgotten // no upload of this file
	}
	t.limit(resp)
	t.shrink(offset)
	t.offset, t.known = offset, true
	return nil
}

// shrink sends less at a time where a proxy keeps a request back until it has
// all of it: of what it had when it was cut nothing arrives.
func (t *transfer) shrink(offset int64) {
	kept := offset - t.offset
	if t.sent > 2*smallestPart && kept < t.sent/2 {
		t.c.Resume.learn(t.at, func(m *manner) {
			if half := max(smallestPart, t.sent/2); m.part == 0 || half < m.part {
				m.part = half
			}
		})
	}
	t.sent = 0
}

func (t *transfer) limit(resp *http.Response) {
	if l, ok := partial.ParseLimits(resp.Header.Values(partial.Limit)); ok {
		t.most = l.MaxAppendSize
	}
}

// size is how much goes into the next request.
func (t *transfer) size() int64 {
	n := t.u.Size - t.offset
	for _, most := range []int64{t.most, t.c.Resume.of(t.at).part} {
		if most > 0 {
			n = min(n, most)
		}
	}
	return n
}

// send sends what comes next. The last part is answered with the receipt.
func (t *transfer) send(ctx context.Context) (r uploads.Receipt, done bool, err error) {
	n := t.size()
	last := t.offset+n == t.u.Size
	req, err := t.part(ctx, http.MethodPatch)
	if err != nil {
		return r, false, err
	}
	req.Header.Set("Content-Type", partial.MediaType)
	req.Header.Set(partial.Offset, partial.FormatInt(t.offset))
	req.Header.Set(partial.Complete, partial.FormatBool(last))
	if n >= expectContinueBytes {
		req.Header.Set("Expect", "100-continue")
	}
	t.known = false
	resp, sent, err := t.carry(req, io.NewSectionReader(t.body, t.offset, n), n)
	if err != nil {
		t.sent = sent
		return r, false, &CutError{err}
	}
	defer resp.Body.Close()
	return t.heard(resp, last, n)
}

// heard judges the answer to a part of n bytes.
func (t *transfer) heard(resp *http.Response, last bool, n int64) (r uploads.Receipt, done bool, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		r, err = receiptIn(resp, t.at, t.u)
		return r, err == nil, err
	case http.StatusNoContent:
		if last {
			return r, false, &AnswerError{Location: t.at.Name, Status: resp.StatusCode, Why: "no receipt for the last part"}
		}
		return r, false, t.moved(resp)
	case http.StatusConflict:
		return r, false, t.moved(resp)
	case http.StatusNotFound, http.StatusGone:
		return r, false, errForgotten
	case http.StatusRequestEntityTooLarge:
		err := refusalIn(resp, t.at)
		if bare413(err) && n > smallestPart {
			t.c.Resume.learn(t.at, func(m *manner) { m.part = smallestPart })
			return r, false, nil // in smaller parts
		}
		return r, false, err
	}
	return r, false, t.refused(resp)
}

// part is a request about the upload itself.
func (t *transfer) part(ctx context.Context, method string) (*http.Request, error) {
	req, err := t.c.request(ctx, method, t.at, t.u)
	if err != nil {
		return nil, err
	}
	root, err := url.Parse(t.at.Root)
	if err != nil {
		return nil, fmt.Errorf("location %s: %w", t.at.Name, err)
	}
	req.URL = root.JoinPath(partsFolder, t.id)
	return req, nil
}

// do makes a request without a body.
func (t *transfer) do(req *http.Request) (*http.Response, error) {
	resp, _, err := t.carry(req, nil, 0)
	return resp, err
}

// carry makes a request that is cut when it stands still, and says how much of
// its body was taken.
func (t *transfer) carry(req *http.Request, r io.Reader, n int64) (*http.Response, int64, error) {
	ctx, watch := stall.New(req.Context(), t.c.limits())
	req = req.WithContext(ctx)
	var sent counter
	if n > 0 {
		sent.r = watch.Reader(r, n)
		req.Body, req.ContentLength = io.NopCloser(&sent), n
	} else if req.Method == http.MethodPatch {
		watch.Sent() // it completes the upload, which takes a while
	}
	resp, err := t.c.client().Do(req)
	if err != nil {
		watch.Stop()
		return nil, sent.n.Load(), stall.Cause(ctx, err)
	}
	watch.Moved()
	resp.Body = watched{resp.Body, watch}
	return resp, sent.n.Load(), nil
}

// A counter counts what is read through it.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// watched ends the watch with the answer.
type watched struct {
	io.ReadCloser
	watch *stall.Watch
}

func (w watched) Close() error {
	defer w.watch.Stop()
	return w.ReadCloser.Close()
}
