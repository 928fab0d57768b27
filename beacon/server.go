package beacon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// headerTime is how long a request's head may take, and a TLS handshake.
	// Shorter sheds slow attackers sooner; longer forgives worse lines.
	headerTime = 10 * time.Second
	// unwantedTime is how long a body that nobody reads may take: with none, who
	// announces one and sends nothing would keep the connection for ever.
	unwantedTime = 30 * time.Second
	// keepAlive is how long an idle connection is kept. Longer saves handshakes;
	// shorter saves the 20 to 40 KiB that each costs.
	keepAlive = 2 * time.Minute
	// writeTime is how long a small answer, or a piece of a large one, may take.
	writeTime = time.Minute
	// piece is how much of a large body must be taken within writeTime, which
	// is a little over 4 KiB a second.
	piece = 256 << 10
	// headerBytes bounds a request's head. Ours stay under 8 KiB.
	headerBytes = 32 << 10
	// streams is how many requests one HTTP/2 connection may have open.
	streams = 100
	// drainTime is how long requests may take to end. The contract is 10 s for
	// the whole stop.
	drainTime = 6 * time.Second
	// closeTime of it is kept for closing connections.
	closeTime = time.Second
)

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           unwanted(h),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       keepAlive,
		WriteTimeout:      writeTime,
		MaxHeaderBytes:    headerBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streams, SendPingTimeout: headerTime * 3, WriteByteTimeout: writeTime},
		// What clients do wrong on the way to a request is theirs.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// unwanted bounds the bodies that h leaves unread, which the server reads to
// find the next request behind them. Whoever wants a body sets deadlines of
// their own.
func unwanted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && r.ProtoMajor == 1 {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(unwantedTime)) // else only slower to notice
		}
		h.ServeHTTP(w, r)
	})
}

// A front is a server and where it listens.
type front struct {
	ln     net.Listener
	crowd  *crowd // nil if the listener is the caller's
	server *http.Server
}

// listen opens a front that c's bounds apply to. With a TLS configuration it
// speaks HTTPS and HTTP/2.
func listen(address string, c *crowd, secure *tls.Config, h http.Handler, log *slog.Logger) (*front, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	c.Listener = ln
	f := &front{ln: c, crowd: c, server: newServer(h, log)}
	f.server.TLSConfig, f.server.ConnState = secure, c.state
	return f, nil
}

func (f *front) serve() error {
	serve := func() error { return f.server.Serve(f.ln) }
	if f.server.TLSConfig != nil {
		serve = func() error { return f.server.ServeTLS(f.ln, "", "") }
	}
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", f.ln.Addr(), err)
	}
	return nil
}

// Serve serves agents on listeners of the caller's until ctx is done, and then
// drains.
func (a *Agents) Serve(ctx context.Context, listeners ...net.Listener) error {
	h := a.Handler()
	var fronts []*front
	for _, ln := range listeners {
		fronts = append(fronts, &front{ln: ln, server: newServer(h, a.Log)})
	}
	return serveFronts(ctx, fronts, a.Drain)
}

// serveFronts serves until ctx is done or a front fails. Then it calls drain,
// waits for what that returns while still listening, so that whoever asks hears
// that we are stopping, and closes, all within drainTime.
func serveFronts(ctx context.Context, fronts []*front, drain func() <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	errs := make([]error, len(fronts))
	for i, f := range fronts {
		wg.Go(func() {
			if errs[i] = f.serve(); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	<-ctx.Done()
	patience := time.NewTimer(drainTime - closeTime)
	defer patience.Stop()
	select {
	case <-drain():
	case <-patience.C:
	}
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer done()
	for _, f := range fronts {
		wg.Go(func() {
			if f.server.Shutdown(stop) != nil {
				f.server.Close() // whoever is left has had their time
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
