package beacon

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"inventorybeacon/uploads"
)

const (
	// leastRate over rateWindow is what a sender must keep up while others wait.
	// A higher rate frees slots sooner; a lower one forgives worse lines.
	leastRate  = 1 << 10 // bytes a second
	rateWindow = 30 * time.Second
	// After an early refusal so much more is read, so that a sender that writes
	// its whole body before it reads sees the answer and not a reset.
	maxReadOn  = 8 << 20
	readOnTime = 5 * time.Second
)

// A body reads an upload for as long as it moves. Its err is what went wrong on
// the sender's side, if anything did.
type body struct {
	a      *Agents
	r      io.Reader
	rc     *http.ResponseController
	pass   *pass
	err    error
	latest int // bytes that the pass has not been told of

	armed       time.Time // when the read deadline was last set
	window      time.Time // since when windowBytes came
	windowBytes int64

	wide     hash.Hash // of an announced SHA-512
	wideWant []byte
}

func (a *Agents) newBody(w http.ResponseWriter, r *http.Request, p *pass, wide []byte) *body {
	b := &body{a: a, r: r.Body, rc: http.NewResponseController(w), pass: p, wideWant: wide, window: time.Now()}
	if wide != nil {
		b.wide = sha512.New()
	}
	// The answer's time begins after the body: HTTP/2 would cut the request else.
	b.rc.SetWriteDeadline(time.Time{}) // a recorder in a test has none
	return b
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.err = b.pass.moved(b.latest); b.err != nil {
		return 0, b.err
	}
	b.arm(time.Now())
	n, err := b.r.Read(p)
	b.latest = n
	b.windowBytes += int64(n)
	if b.wide != nil {
		b.wide.Write(p[:n]) // never fails
	}
	switch {
	case err == io.EOF:
		if b.wide != nil && !bytes.Equal(b.wide.Sum(nil), b.wideWant) {
			b.err = fmt.Errorf("%w: sha-512", uploads.ErrDigest)
			return n, b.err
		}
		b.pass.complete()
		// While the file is stored, silence is no stall.
		b.rc.SetReadDeadline(time.Time{}) // a recorder in a test has none
		return n, io.EOF
	case err != nil:
		b.err = blame(err)
	default:
		b.err = b.tooSlow(time.Now())
	}
	return n, b.err
}

// arm lets the next read take as long as the idle limit. Arming on every small
// read would cost more than reading, so it may be old by a little.
func (b *body) arm(now time.Time) {
	if now.Sub(b.armed) < b.a.Idle/64 {
		return
	}
	b.armed = now
	b.rc.SetReadDeadline(now.Add(b.a.Idle)) // a recorder in a test has none
}

func (b *body) tooSlow(now time.Time) error {
	took := now.Sub(b.window)
	if took < rateWindow {
		return nil
	}
	rate := float64(b.windowBytes) / took.Seconds()
	b.window, b.windowBytes = now, 0
	if rate >= leastRate || !b.a.pressed() {
		return nil
	}
	return fmt.Errorf("%w: under %d bytes a second while others wait", os.ErrDeadlineExceeded, leastRate)
}

// blame says what an error of the connection means for the sender.
func blame(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded): // without the addresses that err names
		return fmt.Errorf("%w: nothing came for as long as a sender may be silent", os.ErrDeadlineExceeded)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", uploads.ErrShort, err)
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe), isNet(err):
		return fmt.Errorf("%w: the sender is gone: %w", context.Canceled, err)
	}
	return fmt.Errorf("%w: %w", errBadRequest, err)
}

func isNet(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// readOn takes what a refused sender still sends. One that waits for the word
// to continue sends nothing: the server waits for its end, and no longer than for
// the others. HTTP/2 tells a sender to stop. If the body does not end in time the
// connection does: the rest of it is no next request.
func readOn(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 1 || r.Body == nil || r.Body == http.NoBody {
		return
	}
	rc := http.NewResponseController(w)
	if rc.Flush() != nil || rc.SetReadDeadline(time.Now().Add(readOnTime)) != nil || r.Header.Get("Expect") != "" {
		return
	}
	_, err := io.CopyN(io.Discard, r.Body, maxReadOn+1)
	if err != io.EOF && w.Header().Get("Connection") != "close" {
		panic(http.ErrAbortHandler) // the answer is out
	}
}
