package uploads_test

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"inventorybeacon/uploads"
)

func TestLentBodyIsReadUntilItIsTakenBack(t *testing.T) {
	l := uploads.Lend(strings.NewReader("hello"))
	b := make([]byte, 3)
	if n, err := l.Read(b); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	l.TakeBack()
	if n, err := l.Read(b); n != 0 || err != io.ErrClosedPipe {
		t.Errorf("when taken back: %d, %v", n, err)
	}
}

// A held reader is in the middle of a read until it is let go.
type held struct {
	entered, letGo chan struct{}
	over           atomic.Bool
}

func (h *held) Read([]byte) (int, error) {
	close(h.entered)
	<-h.letGo
	h.over.Store(true)
	return 0, io.EOF
}

func TestTakeBackWaitsForAReadUnderWay(t *testing.T) {
	h := &held{entered: make(chan struct{}), letGo: make(chan struct{})}
	l := uploads.Lend(h)
	var reading sync.WaitGroup
	reading.Go(func() { l.Read(make([]byte, 1)) })
	<-h.entered
	reading.Go(func() { close(h.letGo) })
	l.TakeBack()
	if !h.over.Load() {
		t.Error("it was taken back from under a read")
	}
	reading.Wait()
}
