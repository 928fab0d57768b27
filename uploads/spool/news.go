package spool

import (
	"cmp"
	"fmt"
	"slices"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/register"
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
	_, e := s.register.Find(seq)
	var l *located
	held := e != nil && isHeld(e)
	if held {
		l, _ = s.locateWhole(e)
	}
	s.mu.Unlock()
	defer s.letGo(l)
	if !held {
		return fmt.Errorf("%w: %d", uploads.ErrUnknown, seq)
	}
	known, err := s.readMarks(l.marks)
	if err != nil && !isDamage(err) {
		return fmt.Errorf("read flags: %w", err)
	}
	if slices.ContainsFunc(known, func(m *journal.Mark) bool { return m.Sort == journal.Flagged && m.Detail == detail }) {
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
	_, e := s.register.Find(seq)
	switch {
	case e == nil || !isHeld(e):
		return nil, fmt.Errorf("%w: %d", uploads.ErrUnknown, seq)
	case !s.pendingFor(k)(e):
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
	r, u, ok := s.findExact(id)
	if !ok {
		return fmt.Errorf("%w: %s/%s", uploads.ErrUnknown, kind, name)
	}
	c = unknownCustody(r.Custody, c)
	if len(c) == 0 {
		return nil
	}
	s.recent.put(u) // for those who are told
	m := &journal.Mark{Seq: u.Seq, Sort: journal.Learnt, At: now(), Custody: c[:min(len(c), maxCustody)], File: fileBytes(id)}
	if err := s.note([]*journal.Mark{m}); err != nil {
		return fmt.Errorf("record custody: %w", err)
	}
	return nil
}

// unknownCustody returns those of c whose holder does not stand in known at
// that level.
func unknownCustody(known, c []uploads.Custody) (out []uploads.Custody) {
	for _, c := range c {
		same := func(k uploads.Custody) bool { return k.Level == c.Level && k.Beacon == c.Beacon }
		if !slices.ContainsFunc(known, same) && !slices.ContainsFunc(out, same) {
			out = append(out, c)
		}
	}
	return out
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
func (s *Spool) learn(m *journal.Mark, seg *segment, offset int64) {
	if _, e := s.register.Find(m.Seq); e != nil && !s.byID[e.Segment].leaving {
		s.noteAt(e, m.Event, seg, offset)
		return
	}
	s.learnt[m.Seq] = s.marks.Append(s.learnt[m.Seq], register.Mark{Event: m.Event, Segment: seg.id, Block: uint32(offset / journal.Block)})
}

// A lossRef says which event is a loss, and of which upload.
type lossRef struct{ event, seq uint64 }

// addLoss enters a loss, usually the last one.
func (s *Spool) addLoss(l lossRef) {
	at := len(s.losses)
	for at > 0 && s.losses[at-1].event > l.event {
		at--
	}
	s.losses = slices.Insert(s.losses, at, l)
}

// Losses returns up to limit losses with a Seq above after, in the order of Seq.
func (s *Spool) Losses(after uint64, limit int) ([]Event, error) {
	live := s.locateLosses(after, limit) // first: what is just being freed is then in both
	events, err := s.readLosses(live)
	if err != nil {
		return nil, fmt.Errorf("read losses: %w", err)
	}
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

// locateLosses locates uploads that were lost, each with the mark that says so
// alone.
func (s *Spool) locateLosses(after uint64, limit int) (out []*located) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := slices.BinarySearchFunc(s.losses, after, func(l lossRef, event uint64) int { return cmp.Compare(l.event, event) })
	if found {
		at++
	}
	for _, loss := range s.losses[at:] {
		if len(out) == limit {
			break
		}
		_, e := s.register.Find(loss.seq)
		if e == nil || s.byID[e.Segment].closing {
			continue // it is in the archive
		}
		l, ok := s.locate(e)
		if !ok { // of which nothing is known
			l = &located{seq: e.Seq}
		}
		for _, m := range s.locateMarks(e.Marks) {
			if m.event == loss.event {
				l.marks = append(l.marks, m)
			} else {
				s.unpin(m.seg)
			}
		}
		out = append(out, l)
	}
	return out
}

func (s *Spool) readLosses(found []*located) (events []Event, err error) {
	for i, l := range found {
		marks, merr := s.readMarks(l.marks)
		u := &journal.Upload{}
		u.Seq = l.seq
		if l.record.seg != nil {
			if known, err := s.readUpload(l); err == nil {
				u = known // else it is lost because it cannot be read
			}
		}
		s.letGo(l)
		if isDamage(merr) {
			marks, merr = []*journal.Mark{lostMark(l.seq, l.marks[0].event)}, nil
		}
		if merr != nil {
			for _, l := range found[i+1:] {
				s.letGo(l)
			}
			return nil, merr
		}
		for _, m := range marks {
			events = append(events, eventOf(u, m))
		}
	}
	return events, nil
}
