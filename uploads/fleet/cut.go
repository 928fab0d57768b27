package fleet

import "time"

const (
	// contactsEvery is how often contacts are told of which nothing is new but their
	// time. Less tells the centre sooner which machine fell silent; more keeps reports
	// of a large fleet small.
	contactsEvery = time.Hour
	// fullEvery is how often everything is told, changed or not. Less heals sooner
	// what a reader lost; more saves about 60 bytes a device, compressed.
	fullEvery = 24 * time.Hour
	// overlap is how far back what was told is told again: contacts are recorded a
	// moment after they happened.
	overlap = 2 * time.Minute
)

// A Cut is how far a beacon's word reaches: everything that its index knew up to
// it was told. The zero value is before everything.
type Cut struct {
	// Index tells one index from the one that was made in its place.
	Index int64 `json:"index"`
	// Change is the number of the last change in the index.
	Change int64 `json:"change"`
	// Contacts is up to when contacts were told, and Full when everything was.
	Contacts time.Time `json:"contacts"`
	Full     time.Time `json:"full"`
}

// A Span selects what a report tells of: devices with a change after Change, and,
// if Contacts is set, those heard of since then. Full selects all.
type Span struct {
	Full     bool
	Change   int64
	Contacts time.Time
}

// Next returns what the next report has to tell so that everything since c is told,
// and how far the word reaches with it. index and change are those of the index now.
func (c Cut) Next(index, change int64, now time.Time) (Span, Cut) {
	next := Cut{Index: index, Change: change, Contacts: c.Contacts, Full: c.Full}
	backward := now.Before(c.Contacts) || now.Before(c.Full) // the clock was set back
	if c.Index != index || change < c.Change || backward || now.Sub(c.Full) >= fullEvery {
		next.Contacts, next.Full = now, now
		return Span{Full: true}, next
	}
	s := Span{Change: c.Change}
	if now.Sub(c.Contacts) >= contactsEvery {
		s.Contacts, next.Contacts = c.Contacts.Add(-overlap), now
	}
	return s, next
}
