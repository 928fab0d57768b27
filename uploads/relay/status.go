package relay

import (
	"slices"
	"time"
)

// A Status is how a relay is doing.
type Status struct {
	Sink string `json:"sink"`
	// Waiting files are not delivered yet, of those the relay has planned: of a long
	// backlog only some. InFlight of them are on their way, Deferred of them failed
	// while others passed and go behind the rest.
	Waiting  int `json:"waiting"`
	InFlight int `json:"in_flight"`
	Deferred int `json:"deferred"`
	// SetAside files were refused and wait to be offered again. Where very many files
	// are in trouble, those that failed while others passed are among them.
	SetAside int `json:"set_aside"`
	// Held files are in the destination, but not yet where they may be forgotten.
	// NextQuestion is when it is next asked about one.
	Held         int       `json:"held,omitempty"`
	NextQuestion time.Time `json:"next_question,omitzero"`
	// FailuresInARow counts since the last success; NextAttempt is when the
	// destination is tried next, if it is being left alone.
	FailuresInARow int       `json:"failures_in_a_row"`
	NextAttempt    time.Time `json:"next_attempt,omitzero"`
	// LastError is the failure that still stands, if one does.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// ClosedUntil is when the hours of relay begin, if they are not now.
	ClosedUntil time.Time `json:"closed_until,omitzero"`
	// Stopped says that a file of this very beacon loops. Nothing is sent until
	// a restart.
	Stopped bool `json:"stopped"`
	// Trouble lists files that fail by themselves or were refused, oldest first.
	Trouble []Trouble `json:"trouble,omitempty"`

	// Counters since New.
	Delivered     uint64    `json:"delivered"`
	Quarantined   uint64    `json:"quarantined"`
	Failures      uint64    `json:"failures"`
	LastDelivered time.Time `json:"last_delivered,omitzero"`
}

// Trouble is what is wrong with one file.
type Trouble struct {
	Seq      uint64    `json:"seq"`
	State    string    `json:"state"` // "failing", "deferred" or "set aside"
	Failures int       `json:"failures"`
	At       time.Time `json:"at"`
	Next     time.Time `json:"next,omitzero"`
	Reason   string    `json:"reason"`
}

// maxTrouble bounds the list: it is read by people.
const maxTrouble = 100

// Status returns how the relay is doing at this instant.
func (r *Relay) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, p := r.status, r.plan
	s.Waiting, s.InFlight, s.Deferred, s.SetAside = p.waiting, p.flying, p.behind, len(p.aside)+p.off.aside
	s.Held, s.NextQuestion = len(p.held.waiting)+p.off.held, p.recallDue()
	s.FailuresInARow, s.NextAttempt = p.failures, p.pause()
	if s.Waiting == 0 && !s.Stopped { // what failed went another way: nothing is tried, and no failure stands
		s.FailuresInARow, s.NextAttempt, s.LastError = 0, time.Time{}, ""
	}
	s.Trouble = p.troubles()
	return s
}

// troubles lists the files that are in trouble by themselves.
func (p *plan) troubles() []Trouble {
	var out []Trouble
	for _, it := range p.aside {
		out = append(out, it.report("set aside"))
	}
	for l := range p.allLines() {
		for _, it := range l.behind {
			out = append(out, it.report("deferred"))
		}
		if it := l.head(); it != nil && !it.deferred && it.trouble != nil {
			out = append(out, it.report("failing"))
		}
	}
	slices.SortFunc(out, func(a, b Trouble) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	return out[:min(len(out), maxTrouble)]
}

// troubled lists all files that are in trouble by themselves, as pardon finds them.
func (p *plan) troubled() (out []uint64) {
	for _, it := range p.aside {
		out = append(out, it.seq)
	}
	for l := range p.allLines() {
		for _, it := range l.behind {
			out = append(out, it.seq)
		}
		for _, it := range l.queue {
			if it.trouble != nil && !it.trouble.suspect {
				out = append(out, it.seq)
			}
		}
	}
	return out
}

func (it *item) report(state string) Trouble {
	t := it.trouble
	return Trouble{Seq: it.seq, State: state, Failures: t.failures, At: t.at, Next: t.next, Reason: t.reason}
}
