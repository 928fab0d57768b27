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
		_, e := s.register.Find(m.Seq)
		if e == nil || !isHeld(e) || k != nil && e.Got&k.bit != 0 {
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
	need, got, refused := s.kindOf(e).needs, e.Got, e.Refused
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
	_, e := s.register.Find(seq)
	held := e != nil && isHeld(e)
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
	about := s.uploadsOf(marks)
	return s.record(func() *item {
		it := newItem(journal.TypeMarks, len(marks), meta)
		it.durable = func(seg *segment, r journal.Record) (events []Event) {
			for i, m := range marks {
				m.Event = r.Seq + uint64(i)
				if s.apply(m, seg, r.Offset) && about != nil {
					events = append(events, eventOf(about[i], m))
				}
			}
			return events
		}
		return it
	})
}

// uploadsOf reads what observers are to be told of the uploads of marks, as far
// as it can be read; nil if nobody observes.
func (s *Spool) uploadsOf(marks []*journal.Mark) (out []*journal.Upload) {
	s.mu.Lock()
	opening := s.upkeep.opening
	s.mu.Unlock()
	if s.o.Observe == nil || opening {
		return nil
	}
	for _, m := range marks {
		u := s.recent.get(m.Seq)
		if u == nil {
			u = s.uploadOf(m.Seq)
		}
		out = append(out, u)
	}
	return out
}

func (s *Spool) uploadOf(seq uint64) *journal.Upload {
	s.mu.Lock()
	var l *located
	if _, e := s.register.Find(seq); e != nil {
		l, _ = s.locate(e)
	}
	s.mu.Unlock()
	if l != nil {
		defer s.letGo(l)
		u, err := s.readUpload(l)
		if err == nil {
			return u
		}
		s.log.Error("upload cannot be read", "seq", seq, "err", err)
	}
	u := &journal.Upload{}
	u.Seq = seq
	return u
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
		if now.Sub(time.UnixMilli(c.at)) > s.o.MaxAge {
			old = append(old, c.seq)
		}
	}
	s.mu.Unlock()
	return s.lose(old, LossAge, fmt.Sprintf("held for more than %v", s.o.MaxAge))
}
