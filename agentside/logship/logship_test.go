package logship

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"
)

func unzip(t *testing.T, gz []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(gz))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLogShipsFinishedPieces(t *testing.T) {
	l := Open(t.TempDir())
	defer l.Close()
	var got []string
	put := func(_ context.Context, _ time.Time, gz []byte) error {
		got = append(got, unzip(t, gz))
		return nil
	}
	if n, err := l.Ship(t.Context(), put); n != 0 || err != nil {
		t.Errorf("empty log: %d, %v", n, err)
	}
	for i := range 2 {
		fmt.Fprintf(l, "line %d\n", i)
		if n, err := l.Ship(t.Context(), put); n != 1 || err != nil {
			t.Errorf("piece %d: %d, %v", i, n, err)
		}
	}
	if fmt.Sprint(got) != "[line 0\n line 1\n]" {
		t.Errorf("got %q", got)
	}
	if n, err := l.Ship(t.Context(), put); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

func TestLogKeepsPieceThatCannotBeHandedOver(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir)
	defer l.Close()
	fmt.Fprintln(l, "first")
	full := errors.New("full")
	if n, err := l.Ship(t.Context(), func(context.Context, time.Time, []byte) error { return full }); n != 0 || !errors.Is(err, full) {
		t.Fatalf("%d, %v", n, err)
	}
	var first, second []byte
	keep := func(to *[]byte, err error) Put {
		return func(_ context.Context, _ time.Time, gz []byte) error { *to = gz; return err }
	}
	l.Ship(t.Context(), keep(&first, full))
	if n, err := l.Ship(t.Context(), keep(&second, nil)); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if unzip(t, second) != "first\n" || !bytes.Equal(first, second) {
		t.Errorf("first %q, second %q", first, second)
	}
}

func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir)
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range 40 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(10 * time.Second) // the oldest are removed behind our back
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) <= maxPieces+1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pieces", len(entries))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
