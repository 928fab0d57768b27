//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/comeback"
	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/spool"
)

// contest runs one contestant until it is told to stop; its first line of
// output ends in its address. All of them stand behind the same server.
func contest(name string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := contestants[name](args)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on", ln.Addr())
	return errors.Join(c.serve(ctx, ln), c.close())
}

// A contestant is a server and what to close behind it.
type contestant struct {
	serve func(context.Context, net.Listener) error
	close func() error
}

var contestants = map[string]func(args []string) (contestant, error){
	"spool":  spoolContestant,
	"files":  filesContestant,
	"policy": policyContestant,
	"bare":   bareContestant,
}

// spoolContestant is our spool. With the argument "ready" it waits for its
// spare segments, so that a burst meets none that is still being written.
func spoolContestant(args []string) (c contestant, err error) {
	s, err := spool.Open(filepath.Join(args[0], "spool"), spool.Options{
		Recycle: true, Spares: spares, Beacon: "bench", Sinks: []spool.SinkName{{Name: "paused", Required: true}},
	})
	if err != nil {
		return c, err
	}
	if len(args) > 1 && args[1] == "ready" {
		if err := s.Ready(context.Background(), spares); err != nil {
			return c, err
		}
	}
	return contestant{serve(agents(s, nil)), s.Close}, nil
}

func filesContestant(args []string) (c contestant, err error) {
	f, err := newFiles(args[0])
	if err != nil {
		return c, err
	}
	return contestant{serve(agents(f, nil)), f.top.Close}, nil
}

func policyContestant(args []string) (c contestant, err error) {
	store, err := revision.Open(args[0], revision.Options{})
	if err != nil {
		return c, err
	}
	return contestant{serve(agents(nil, store)), store.Close}, nil
}

// bareContestant answers every conditional request with 304, from memory and
// with headers made beforehand: what net/http itself costs.
func bareContestant([]string) (c contestant, err error) {
	etag := []string{`"0123456789abcdef0123456789abcdef"`}
	modified := []string{time.Now().UTC().Format(http.TimeFormat)}
	cache := []string{"private, no-cache"}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Etag"], h["Last-Modified"], h["Cache-Control"] = etag, modified, cache
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write([]byte(strings.Repeat("x", 2048)))
	})
	bare := func(ctx context.Context, ln net.Listener) error {
		srv := &http.Server{Handler: h}
		context.AfterFunc(ctx, func() { srv.Close() })
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	return contestant{bare, func() error { return nil }}, nil
}

// serve runs the agents' surface as a beacon does.
func serve(a *beacon.Agents) func(context.Context, net.Listener) error {
	return func(ctx context.Context, ln net.Listener) error { return a.Serve(ctx, ln) }
}

func agents(s beacon.Spool, store *revision.Store) *beacon.Agents {
	return &beacon.Agents{
		Name: "bench", Download: "ManageSoftDL", Upload: "ManageSoftRL",
		Policies: func() beacon.Snapshot { return store.Current() },
		Spool:    s, Kinds: uploads.DefaultKinds(),
		Room:     func(comeback.Class, int64) error { return nil },
		Pressed:  func() bool { return false },
		Seen:     func(catalogue.Sighting) {},
		InFlight: 1 << 10, Idle: time.Minute,
		Metrics: beacon.NewMetrics(), Log: slog.New(slog.DiscardHandler),
	}
}
