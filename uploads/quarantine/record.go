package quarantine

import "time"

// A Record is what the quarantine knows at one instant of what came and left.
type Record struct {
	At time.Time
	// Of is the receipt that it is about; empty for all.
	Of string
	// Here is since when bodies are here, by receipt; the zero time if the sidecar
	// cannot be read.
	Here map[string]time.Time
	// Left are the stays that ended, by receipt, the oldest first.
	Left map[string][]Entry
}

// Record returns what is known of all files.
func (s *Store) Record() (Record, error) {
	r := newRecord("")
	err := s.sidecars(r.add)
	return r, err
}

// Record returns what is known of one.
func (e Entry) Record() Record {
	r := newRecord(e.ID)
	r.add(e.ID, e, nil)
	return r
}

func newRecord(of string) Record {
	return Record{At: time.Now(), Of: of, Here: map[string]time.Time{}, Left: map[string][]Entry{}}
}

func (r Record) add(id string, e Entry, err error) {
	if err != nil || e.Left == nil {
		r.Here[id] = e.At
	}
	if left := e.departures(); len(left) > 0 {
		r.Left[id] = left
	}
}
