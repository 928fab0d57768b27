package spool

import (
	"cmp"
	"fmt"
	"slices"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// Flag records what a check found in a held file, which stays and is relayed.
// It is durable on return. The same words again change nothing. A file that left
// gives [uploads.ErrUnknown].
func (s *Spool) Flag(seq uint64, detail string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	detail = brief(detail)
	s.mu.Lock()
	e := s.entries[seq]
	held := e != nil && !e.left
	known := held && slices.ContainsFunc(e.marks, func(m markAt) bool { return m.Sort == journal.Flagged && m.Detail == detail })
	s.mu.Unlock()
	switch {
	case !held:
		return fmt.Errorf("%w: %d", uploads.ErrUnknown, seq)
	case known:
		return nil
	}
	if err := s.note([]*journal.Mark{{Seq: seq, Sort: journal.Flagged, At: now(), Detail: detail}}); err != nil {
		return fmt.Errorf("record flag: %w", err)
	}
	return nil
}

// Refuse records that a sink will never take a file, with words for a person;
// it is durable on return. Other sinks go on. When the last one that the file
// waits for has it or has refused it, it leaves; if one that had to have it
// refused it, that is a loss. A file that left gives [uploads.ErrUnknown]; what the
// sink has or has refused already is ignored.
func (s *Spool) Refuse(sinkName string, seq uint64, detail string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	marks, err := s.refusal(sinkName, seq, detail)
	if err != nil {
		return err
	}
	if err := s.note(marks); err != nil {
		return fmt.Errorf("record refusal: %w", err)
	}
	return nil
}

func (s *Spool) refusal(name string, seq uint64, detail string) ([]*journal.Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sink(name)
	if k == nil {
		return nil, fmt.Errorf("record refusal: no destination is called %q", name)
	}
	e := s.entries[seq]
	switch {
	case e == nil || e.left:
		return nil, fmt.Errorf("%w: %d", uploads.ErrUnknown, seq)
	case !k.takes(e.Kind) || !k.wants(e):
		return nil, nil
	}
	return s.settling(e, k, &journal.Mark{Seq: seq, Sort: journal.Refused, At: now(), Sink: name, Detail: brief(detail)}), nil
}

// Learn records who is known by now to have exactly these bytes under that
// name, be they held or gone; it is durable on return and in the receipts from
// then on. What is known already is ignored. A file that is neither held nor was
// delivered gives [uploads.ErrUnknown].
func (s *Spool) Learn(kind string, name uploads.Name, d uploads.Digest, c []uploads.Custody) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	id := receipts.FileID{Name: receipts.NameIDOf(kind, name), Digest: d}
	r, seq, ok := s.findExact(id)
	if !ok {
		return fmt.Errorf("%w: %s/%s", uploads.ErrUnknown, kind, name)
	}
	c = unknownCustody(r.Custody, c)
	if len(c) == 0 {
		return nil
	}
	m := &journal.Mark{Seq: seq, Sort: journal.Learnt, At: now(), Custody: c[:min(len(c), maxCustody)], File: fileBytes(id)}
	if err := s.note([]*journal.Mark{m}); err != nil {
		return fmt.Errorf("record custody: %w", err)
	}
	return nil
}

func fileBytes(id receipts.FileID) []byte { return append(id.Name[:], id.Digest[:]...) }

func fileOf(b []byte) (id receipts.FileID, ok bool) {
	if len(b) != len(id.Name)+len(id.Digest) {
		return id, false
	}
	copy(id.Digest[:], b[copy(id.Name[:], b):])
	return id, true
}

// learn lets durable news of an upload count whose file may have left, and
// whose record may be gone.
func (s *Spool) learn(m *journal.Mark, seg *segment) []Event {
	e := s.entries[m.Seq]
	if e != nil && !e.seg.leaving {
		e.marks = append(e.marks, markAt{m, seg})
		seg.marked = append(seg.marked, e)
		return []Event{eventOf(&e.Upload, m)}
	}
	s.learnt[m.Seq] = append(s.learnt[m.Seq], markAt{m, seg})
	u := journal.Upload{}
	u.Seq = m.Seq
	return []Event{eventOf(&u, m)}
}

// learntOf returns what was learnt of an upload since its record went.
func (s *Spool) learntOf(seq uint64) (marks []*journal.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.learnt[seq] {
		marks = append(marks, m.Mark)
	}
	return marks
}

// A lossRef says which event is a loss, and of which upload.
type lossRef struct{ event, seq uint64 }

// Losses returns up to limit losses with a Seq above after, in the order of Seq.
func (s *Spool) Losses(after uint64, limit int) ([]Event, error) {
	events := s.liveLosses(after, limit) // first: what is just being freed is then in both
	old, err := s.archive.Losses(after, limit)
	if err != nil {
		return nil, fmt.Errorf("read losses: %w", err)
	}
	for _, e := range old {
		events = append(events, archivedEvent(e))
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	events = slices.CompactFunc(events, func(a, b Event) bool { return a.Seq == b.Seq })
	return events[:min(limit, len(events))], nil
}

func (s *Spool) liveLosses(after uint64, limit int) (events []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := slices.BinarySearchFunc(s.losses, after, func(l lossRef, event uint64) int { return cmp.Compare(l.event, event) })
	if found {
		at++
	}
	for _, l := range s.losses[at:] {
		e := s.entries[l.seq]
		for _, m := range e.marks {
			if m.Event == l.event {
				events = append(events, eventOf(&e.Upload, m.Mark))
			}
		}
		if len(events) == limit {
			break
		}
	}
	return events
}
