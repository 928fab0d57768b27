package transport

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"

	"inventorybeacon/uploads/stall"
)

// roundTripper adds to a transport what the agent needs of each request.
type roundTripper struct {
	base   *http.Transport
	header func() http.Header
}

// CloseIdleConnections makes [http.Client.CloseIdleConnections] work.
func (t *roundTripper) CloseIdleConnections() { t.base.CloseIdleConnections() }

// RoundTrip implements [http.RoundTripper]. A request that failed on a
// kept-alive connection is repeated once on a fresh one: the beacon may have
// closed the old one while we were writing to it.
func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, reused, err := t.once(req)
	if err == nil || !reused || req.Context().Err() != nil || stalled(err) {
		return resp, err
	}
	again, ok := rewind(req)
	if !ok {
		return nil, err
	}
	t.base.CloseIdleConnections()
	resp, _, err = t.once(again)
	return resp, err
}

func stalled(err error) bool {
	_, ok := errors.AsType[*stall.Error](err)
	return ok
}

// rewind returns req with its body at the start again, if it can be had.
func rewind(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	again := req.Clone(req.Context())
	again.Body = body
	return again, true
}

func (t *roundTripper) once(orig *http.Request) (resp *http.Response, reused bool, err error) {
	ctx, watch := stall.New(orig.Context(), stall.Default)
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused; watch.Moved() },
	})
	req := orig.Clone(traced)
	maps.Copy(req.Header, t.header())
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &sentBody{watch.Reader(small{req.Body}, req.ContentLength), req.Body}
		req.GetBody = nil // repeating is decided above, where it is counted
	}
	resp, err = t.base.RoundTrip(req)
	if err != nil {
		err = stall.Cause(ctx, err)
		watch.Stop()
		return nil, reused, err
	}
	watch.Moved()
	resp.Body = &answerBody{resp.Body, watch, ctx}
	return resp, reused, nil
}

// small reads a little at a time, so that a slow line shows progress before a
// whole buffer has gone out.
type small struct{ io.Reader }

// step is the most that is sent between two signs of progress. A smaller one
// bears with slower lines, at the cost of calls.
const step = 8 << 10

func (s small) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), step)]) }

type sentBody struct {
	io.Reader
	io.Closer
}

// answerBody is an answer's body whose reads must progress.
type answerBody struct {
	io.ReadCloser
	watch *stall.Watch
	ctx   context.Context
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.Moved()
	}
	if err != nil && err != io.EOF {
		err = stall.Cause(b.ctx, err)
	}
	return n, err
}

func (b *answerBody) Close() error {
	defer b.watch.Stop()
	return b.ReadCloser.Close()
}
