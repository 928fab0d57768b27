// Package comeback decides when senders that had to be turned away come again.
//
// After an outage a whole fleet calls at once. Each sender is given a second of
// its own to come back in, at the rate at which uploads were seen to be taken:
// inventory before usage before logs. What is remembered is bounded, whatever
// calls, and a sender that asks again early keeps its place.
//
// A [Schedule] does no I/O and starts nothing; it is told the time.
package comeback

import (
	"sync"
	"time"
)

// A Class says what goes first.
type Class uint8

// The classes, the first to go in front.
const (
	Inventory Class = iota
	Usage
	Logs
	classes
)

// String names the class as metrics do.
func (c Class) String() string { return [...]string{"inventory", "usage", "logs"}[c] }

// Classes are all of them, in order.
func Classes() []Class { return []Class{Inventory, Usage, Logs} }

const (
	// horizon is the longest wait that is handed out. A longer one holds a larger
	// fleet without crowding; a shorter one wastes less if it was too careful.
	horizon = 3600 // seconds
	// grace is how late a sender may be and still find its place kept. A longer
	// one forgives slower agents; a shorter one notices sooner who never comes.
	grace = 120 // seconds
	// patience is how long a sender waits before it counts as one class better,
	// so that nothing waits for ever behind a stream of inventories. A shorter one
	// mixes the classes; a longer one lets logs grow old.
	patience = 600 // seconds
	// remembered bounds the places that are kept, some 40 bytes each. Who is
	// turned away beyond it gets a time and is a newcomer when it comes.
	remembered = 1 << 18
)

// A Caller is a sender with files of one class.
type Caller struct {
	ID    uint64 // a hash of who it is
	Class Class
}

// A Schedule hands out the seconds to come. It may be used from several
// goroutines.
type Schedule struct {
	mu      sync.Mutex
	now     int64 // the second it is
	pace    pace
	slots   [horizon + grace]slot
	last    [classes]int64 // the furthest second each class was given, but for those beyond its turn
	hint    [classes]int64 // no earlier second has room
	farHint [classes]int64 // the same for those who are to stay away longer
	waiting [classes]int
	places  map[Caller]place
	swept   int64
}

// New returns a schedule for a receiver that is expected to take rate uploads a
// second, and never more than most. What it really takes is measured.
func New(rate, most float64) *Schedule {
	return &Schedule{pace: newPace(rate, most), places: map[Caller]place{}}
}

// Arrive tells that a caller is here and returns how long it has to wait, in
// whole seconds; 0 lets it try. pressed says that places are getting scarce:
// while they are, whoever has been promised one goes before newcomers. early says
// that it was told so before.
func (s *Schedule) Arrive(now time.Time, c Caller, pressed bool) (wait time.Duration, early bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	if !pressed {
		return 0, false
	}
	p, known := s.place(c)
	switch {
	case known && p.at <= s.now:
		if !s.displaced(p) {
			return 0, false
		}
		return s.rebook(c, p, 0), false
	case known && s.take(s.now, p.class):
		return 0, false
	case known:
		return s.wait(p.at), true
	case s.total() == 0 || s.take(s.now, c.Class):
		return 0, false
	}
	return s.book(c, place{class: c.Class, since: s.now}, 0), false
}

// Refuse tells that a caller was turned away and returns when to come again, at
// least so far from now. A caller that has a time which is not over keeps it.
func (s *Schedule) Refuse(now time.Time, c Caller, least time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	p, known := s.place(c)
	far := int64((least + time.Second - 1) / time.Second)
	switch {
	case known && p.at > s.now && p.at >= s.now+far:
		return s.wait(p.at)
	case known:
		return s.rebook(c, p, far)
	}
	return s.book(c, place{class: c.Class, since: s.now}, far)
}

// Full notes that everything that can be taken at once is being taken: what is
// served in this second is all that can be.
func (s *Schedule) Full(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	s.pace.full = true
}

// Admit tells that a caller was let in: its place is free.
func (s *Schedule) Admit(now time.Time, c Caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	if p, known := s.place(c); known {
		s.free(c, p)
	}
}

// Served tells that an upload was taken.
func (s *Schedule) Served(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	s.pace.served++
}

// A Standing is how a schedule is at one instant.
type Standing struct {
	// Waiting is how many callers of each class have a time to come.
	Waiting map[Class]int
	// Rate is how many are let come in a second.
	Rate float64
	// Drained is how long until the last of them is due.
	Drained time.Duration
}

// Standing returns the numbers of this instant.
func (s *Schedule) Standing(now time.Time) Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(now)
	st := Standing{Waiting: map[Class]int{}, Rate: s.pace.rate}
	for c, n := range s.waiting {
		st.Waiting[Class(c)] = n
	}
	for at := s.now + horizon - 1; at > s.now && st.Drained == 0; at-- {
		if sum(s.at(at).due) > 0 {
			st.Drained = s.wait(at)
		}
	}
	return st
}

// wait is a second as a caller is told it, never nothing.
func (s *Schedule) wait(at int64) time.Duration {
	return time.Duration(max(1, at-s.now)) * time.Second
}
