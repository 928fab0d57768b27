package spool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
)

const (
	// marksPerRecord bounds a record of marks: usually less than 8 KiB.
	marksPerRecord = 64
	// maxDetail and maxCustody bound what others make one mark hold, so that a
	// record of them fits in the smallest segment.
	maxDetail  = 300
	maxCustody = 2 * uploads.MaxHops
	// fewMarks is as many as fit whatever they hold.
	fewMarks = 4
)

// Deliver records that a sink has files; it is durable on return. Marks for
// files that left, or that the sink has already, are ignored.
func (s *Spool) Deliver(sinkName string, marks []Mark) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	for part := range slices.Chunk(marks, marksPerRecord) {
		if err := s.note(s.deliveries(sinkName, part)); err != nil {
			return fmt.Errorf("record delivery: %w", err)
		}
	}
	return nil
}

func (s *Spool) deliveries(name string, marks []Mark) (out []*journal.Mark) {
	at := now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sink(name)
	for _, m := range marks {
		e := s.entries[m.Seq]
		if e == nil || e.left || k != nil && e.got&k.bit != 0 {
			continue
		}
		d := &journal.Mark{Seq: m.Seq, At: at, Sink: name, Custody: m.Custody[:min(len(m.Custody), maxCustody)]}
		out = append(out, s.settling(e, k, d)...)
	}
	return out
}

// settling adds to a sink's word on a file what follows from it: that the file
// leaves, since it waits for nobody any longer, and that this is a loss if one it
// had to have will never take it.
func (s *Spool) settling(e *entry, k *sink, m *journal.Mark) []*journal.Mark {
	need, got, refused := s.needed(e.Kind), e.got, e.refused
	switch {
	case k == nil:
	case m.Sort == journal.Refused:
		refused |= k.bit
	default:
		got |= k.bit
		refused &^= k.bit
	}
	if need == 0 || (got|refused)&need != need {
		return []*journal.Mark{m}
	}
	if refused&need == 0 {
		m.Left = true
		return []*journal.Mark{m}
	}
	detail := "refused by " + strings.Join(s.sinkNames(refused&need), ", ")
	if m.Sort == journal.Refused {
		detail = brief(m.Sink + ": " + m.Detail)
	}
	return []*journal.Mark{m, {Seq: m.Seq, At: m.At, Reason: LossRefused, Detail: detail, Left: true}}
}

func (s *Spool) sinkNames(bits uint32) (names []string) {
	for _, k := range s.sinks {
		if bits&k.bit != 0 {
			names = append(names, k.Name)
		}
	}
	return names
}

// Lose takes a file out of the spool for a reason other than delivery, one of
// the Loss constants, with words for a person; the loss is durable on return. A
// file that already left gives [uploads.ErrUnknown].
func (s *Spool) Lose(seq uint64, reason, detail string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if reason == "" {
		return fmt.Errorf("lose %d: no reason given", seq)
	}
	s.mu.Lock()
	e := s.entries[seq]
	held := e != nil && !e.left
	s.mu.Unlock()
	if !held {
		return fmt.Errorf("%w: %d", uploads.ErrUnknown, seq)
	}
	return s.lose([]uint64{seq}, reason, brief(detail))
}

// brief bounds what others make a mark hold.
func brief(detail string) string {
	if len(detail) <= maxDetail {
		return detail
	}
	return strings.ToValidUTF8(detail[:maxDetail], "") + " …"
}

func (s *Spool) lose(seqs []uint64, reason, detail string) error {
	at := now()
	for part := range slices.Chunk(seqs, marksPerRecord) {
		var marks []*journal.Mark
		for _, seq := range part {
			marks = append(marks, &journal.Mark{Seq: seq, At: at, Reason: reason, Detail: detail, Left: true})
		}
		if err := s.note(marks); err != nil {
			return fmt.Errorf("record loss: %w", err)
		}
	}
	return nil
}

// note writes news as one record, whose numbers they get.
func (s *Spool) note(marks []*journal.Mark) error {
	if len(marks) == 0 {
		return nil
	}
	meta := appendMarks(marks)
	if len(meta) > maxMeta && len(marks) > fewMarks {
		half := len(marks) / 2
		return errors.Join(s.note(marks[:half]), s.note(marks[half:]))
	}
	it := newItem(journal.TypeMarks, len(marks), meta)
	it.durable = func(seg *segment, r journal.Record) (events []Event) {
		for i, m := range marks {
			m.Event = r.Seq + uint64(i)
			if m.Sort == journal.Learnt {
				events = append(events, s.learn(m, seg)...)
				continue
			}
			e := s.entries[m.Seq]
			if e == nil || e.left {
				continue // it left in the meantime by another mark
			}
			events = append(events, s.apply(e, m, seg))
		}
		return events
	}
	return s.append(it)
}

func appendMarks(marks []*journal.Mark) (meta []byte) {
	for _, m := range marks {
		meta = journal.AppendMark(meta, m)
	}
	return meta
}

// Expire gives up what is older than Options.MaxAge allows. Whoever sets MaxAge
// calls it now and then.
func (s *Spool) Expire(now time.Time) error {
	if s.o.MaxAge <= 0 {
		return nil
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.mu.Lock()
	var old []uint64
	for _, c := range s.candidates(nil) { // all of them: the clock may have gone back
		if now.Sub(c.e.Received) > s.o.MaxAge {
			old = append(old, c.e.Seq)
		}
	}
	s.mu.Unlock()
	return s.lose(old, LossAge, fmt.Sprintf("held for more than %v", s.o.MaxAge))
}
