package spool

import (
	"cmp"
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
		need, got := s.needed(e.Kind), e.got
		if k != nil {
			got |= k.bit
		}
		out = append(out, &journal.Mark{
			Seq: m.Seq, At: at, Sink: name, Custody: m.Custody[:min(len(m.Custody), maxCustody)], Left: need != 0 && got&need == need,
		})
	}
	return out
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
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + " …"
	}
	return s.lose([]uint64{seq}, reason, detail)
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

// book makes room for an upload within Options.MaxBytes, by giving up others
// if it must and may.
func (s *Spool) book(size int64) error {
	if s.o.MaxBytes == 0 {
		return nil
	}
	for {
		s.mu.Lock()
		excess := s.held.bytes + s.booked + size - s.o.MaxBytes
		if excess <= 0 {
			s.booked += size
			s.mu.Unlock()
			return nil
		}
		victims, enough := s.victims(excess)
		s.mu.Unlock()
		if !enough {
			return fmt.Errorf("%w: %d bytes, %d too many", uploads.ErrFull, size, excess)
		}
		if err := s.lose(victims, LossQuota, "given up to make room for a newer file"); err != nil {
			return err
		}
	}
}

func (s *Spool) unbook(size int64) {
	if s.o.MaxBytes == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.booked -= size
}

// victims chooses what to give up so that excess bytes become free.
func (s *Spool) victims(excess int64) (seqs []uint64, enough bool) {
	if s.o.GiveUp == nil {
		return nil, false
	}
	for _, c := range s.candidates() {
		if excess <= 0 {
			break
		}
		seqs = append(seqs, c.e.Seq)
		excess -= c.e.Size
	}
	return seqs, excess <= 0
}

// A candidate for being given up.
type candidate struct {
	e    *entry
	rank int
}

func (s *Spool) candidates() (out []candidate) {
	type source struct {
		device uploads.Device
		kind   string
	}
	newest := map[source]uint64{}
	for _, e := range s.held.entries {
		if isHeld(e) {
			newest[source{e.Device.Key(), e.Kind}] = e.Seq
		}
	}
	for _, e := range s.held.entries {
		if !isHeld(e) {
			continue
		}
		rank := 0
		if s.o.GiveUp != nil {
			rank = s.o.GiveUp(e.Upload.Upload, newest[source{e.Device.Key(), e.Kind}] == e.Seq)
		}
		if rank >= 0 {
			out = append(out, candidate{e, rank})
		}
	}
	slices.SortStableFunc(out, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	return out
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
	for _, c := range s.candidates() { // all of them: the clock may have gone back
		if now.Sub(c.e.Received) > s.o.MaxAge {
			old = append(old, c.e.Seq)
		}
	}
	s.mu.Unlock()
	return s.lose(old, LossAge, fmt.Sprintf("held for more than %v", s.o.MaxAge))
}
