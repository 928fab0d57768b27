package uploads

import (
	"io"
	"sync"
)

// A Lent is a body in the hands of a client that may still read it when the
// request it was for has failed. Nothing is read once it was taken back, which waits
// for a read that is under way: the body may be closed then.
type Lent struct {
	mu   sync.Mutex
	r    io.Reader
	back bool
}

// Lend returns a reader of r until it is taken back.
func Lend(r io.Reader) *Lent { return &Lent{r: r} }

// Read implements [io.Reader]. What was taken back gives [io.ErrClosedPipe].
func (l *Lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back {
		return 0, io.ErrClosedPipe
	}
	return l.r.Read(p)
}

// TakeBack ends reading.
func (l *Lent) TakeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back = true
}
