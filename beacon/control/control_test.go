package control_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"inventorybeacon/beacon/control"
)

// serve runs a server on dir until the test ends.
func serve(t *testing.T, dir string) *control.Client {
	t.Helper()
	s := control.NewServer(slog.New(slog.DiscardHandler))
	control.Handle(s, "double", func(_ context.Context, n int) (int, error) {
		if n < 0 {
			return 0, errors.New("n is negative: give another")
		}
		return 2 * n, nil
	})
	control.Stream(s, "half", func(_ context.Context, ok bool, w io.Writer) error {
		io.WriteString(w, "first")
		if !ok {
			return errors.New("disk gone")
		}
		return nil
	})
	ln, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return control.NewClient(dir)
}

func TestClientCalls(t *testing.T) {
	for name, dir := range map[string]string{
		"short path": t.TempDir(),
		"long path":  filepath.Join(t.TempDir(), strings.Repeat("a", 100), strings.Repeat("b", 100)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			c := serve(t, dir)
			if n, err := control.Call[int, int](t.Context(), c, "double", 21); n != 42 || err != nil {
				t.Errorf("double = %d, %v", n, err)
			}
			_, err := control.Call[int, int](t.Context(), c, "double", -1)
			if said, ok := errors.AsType[*control.Error](err); !ok || said.Text != "n is negative: give another" {
				t.Errorf("refused call = %v", err)
			}
			if _, err := control.Call[int, int](t.Context(), c, "treble", 1); err == nil || !strings.Contains(err.Error(), "another version") {
				t.Errorf("unknown call = %v", err)
			}
		})
	}
}

func TestStreamCutIsNoEnd(t *testing.T) {
	c := serve(t, t.TempDir())
	for _, ok := range []bool{true, false} {
		var b []byte
		body, err := c.Open(t.Context(), "half", ok)
		if err == nil {
			b, err = io.ReadAll(body)
			body.Close()
		}
		if string(b) != "first" && ok || (err == nil) != ok {
			t.Errorf("ok=%v: read %q, %v", ok, b, err)
		}
	}
}

func TestSocketIsPrivate(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	fi, err := os.Stat(filepath.Join(dir, control.SocketName))
	if err != nil || fi.Mode().Perm() != 0o600 || fi.Mode().Type() != fs.ModeSocket {
		t.Errorf("socket is %v, %v", fi.Mode(), err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".control-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	dir := t.TempDir()
	if _, err := control.Call[int, int](t.Context(), control.NewClient(dir), "double", 1); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("call without a socket = %v", err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, control.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if _, err := control.Call[int, int](t.Context(), control.NewClient(dir), "double", 1); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("call on a stale socket = %v", err)
	}
	if n, err := control.Call[int, int](t.Context(), serve(t, dir), "double", 1); n != 2 || err != nil {
		t.Errorf("double = %d, %v", n, err)
	}
	if _, err := control.Listen(dir); !errors.Is(err, control.ErrRunning) {
		t.Errorf("second Listen = %v", err)
	}
}

func TestCloseRemovesSocket(t *testing.T) {
	dir := t.TempDir()
	ln, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, control.SocketName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}
