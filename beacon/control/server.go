package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Server answers named calls. Register them before Serve.
type Server struct {
	log *slog.Logger
	mux *http.ServeMux
}

// NewServer returns a server without calls.
func NewServer(log *slog.Logger) *Server { return &Server{log, http.NewServeMux()} }

// maxRequest bounds what a command may say; bundles are named by their path.
const maxRequest = 16 << 20

// Handle registers a call that takes an In and answers an Out, both JSON.
func Handle[In, Out any](s *Server, name string, f func(context.Context, In) (Out, error)) {
	Stream(s, name, func(ctx context.Context, in In, w io.Writer) error {
		out, err := f(ctx, in)
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(out)
	})
}

// Stream registers a call that answers with bytes of its own. An error after
// the first byte cuts the connection, so that the caller cannot take the rest
// for all.
func Stream[In any](s *Server, name string, f func(context.Context, In, io.Writer) error) {
	s.mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil {
			answer(w, fmt.Errorf("%s: %w", name, err))
			return
		}
		body := &started{w: w}
		err := f(r.Context(), in, body)
		if err == nil {
			return
		}
		s.log.LogAttrs(r.Context(), slog.LevelInfo, "control call failed", slog.String("call", name), slog.Any("err", err))
		if body.any {
			panic(http.ErrAbortHandler)
		}
		answer(w, err)
	})
}

// started knows whether anything was written.
type started struct {
	w   io.Writer
	any bool
}

func (s *started) Write(p []byte) (int, error) {
	s.any = true
	return s.w.Write(p)
}

// Flush sends what was written so far.
func (s *started) Flush() error {
	w, ok := s.w.(http.ResponseWriter)
	if !ok {
		return nil
	}
	return http.NewResponseController(w).Flush()
}

// A refusal is an error on the wire.
type refusal struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	json.NewEncoder(w).Encode(refusal{err.Error()}) // the other side may be gone
}

// stopGrace is how long a call in progress may take once the beacon stops.
const stopGrace = 2 * time.Second

// Serve answers on ln until ctx is done, and closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: s.mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { failed <- srv.Serve(ln) })
	select {
	case err := <-failed:
		return fmt.Errorf("serve control socket: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("close control socket: %w", err)
	}
	srv.Close()
	return nil
}
