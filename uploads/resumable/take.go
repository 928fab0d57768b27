package resumable

import (
	"context"
	"fmt"
	"time"

	"inventorybeacon/uploads"
)

const (
	// grace is how long a session that is to end must have got nothing before it is
	// interrupted: a connection that was cut still has bytes to give, which would
	// have to be sent again. A longer one makes a sender whose connection hangs wait.
	grace = 100 * time.Millisecond
	// mostGrace ends it also if bytes still come.
	mostGrace = time.Second
	// pokeEvery is how often it is then interrupted until it ends: the reader may just
	// be setting itself a new deadline.
	pokeEvery = 10 * time.Millisecond
)

// Take makes the caller the only one at work on an upload. Whoever was is
// interrupted, by its own interrupt function, and waited for: what has reached it
// is promised by then. interrupt must make a read of the body fail soon; it is
// called from other goroutines, and not after Release. Errors match
// [uploads.ErrUnknown] or [ErrGone], or are ctx's.
func (s *Store) Take(ctx context.Context, id string, now time.Time, interrupt func()) (*Session, error) {
	for {
		s.mu.Lock()
		u, err := s.find(id, now)
		if err != nil {
			s.mu.Unlock()
			return nil, err
		}
		before := u.holder
		if before == nil {
			c := &Session{store: s, upload: u, interrupt: interrupt, over: make(chan struct{})}
			u.holder = c
			s.mu.Unlock()
			return c, nil
		}
		if !before.taken.Swap(true) {
			s.cut++
		}
		if before.stop.Load() {
			before.interrupt()
		}
		s.mu.Unlock()
		if err := before.yield(ctx); err != nil {
			return nil, err
		}
	}
}

// yield waits a moment for the session to end, and says when it has had its time.
func (c *Session) yield(ctx context.Context) error {
	if c.stop.Load() {
		return c.wait(ctx, pokeEvery)
	}
	for had := time.Duration(0); had < mostGrace; had += grace {
		moved := c.moved.Load()
		if err := c.wait(ctx, grace); err != nil {
			return err
		}
		if c.moved.Load() == moved {
			break
		}
	}
	c.stop.Store(true)
	return nil
}

// Look returns how far an upload has got by its last promise, and disturbs nobody
// who works on it. The errors are those of Take.
func (s *Store) Look(id string, now time.Time) (Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.find(id, now)
	if err != nil {
		return Status{}, err
	}
	return s.status(u), nil
}

// find returns an upload that is there. One whose time is up is not, although
// its files may be.
func (s *Store) find(id string, now time.Time) (*upload, error) {
	u := s.uploads[id]
	_, ended := s.ended[id]
	switch {
	case u != nil && !s.expired(u, now):
		return u, nil
	case u != nil, ended:
		return nil, ErrGone
	}
	return nil, fmt.Errorf("%w: %.40q", uploads.ErrUnknown, id)
}

// wait returns when the session has ended, or after some time.
func (c *Session) wait(ctx context.Context, atMost time.Duration) error {
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-c.over:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
