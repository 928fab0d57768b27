package spool

import (
	"errors"
	"fmt"
	"slices"

	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/register"
)

// archiveAtOnce is how many receipts are written with one sync. More hold more
// memory; fewer take longer to free a segment of small files.
const archiveAtOnce = 2048

// archiveLeaving writes the receipts of uploads that left. A run that was cut
// short may have written some of them; they are written again, since what can be
// read of those need not be on the disk.
func (s *Spool) archiveLeaving(leaving []uint64) error { return s.archiveEach(leaving, s.entryFor) }

// entryFor reads the receipt of an upload that left. What the disk did not keep
// of it is left out: nobody waits for the file any longer.
func (s *Spool) entryFor(seq uint64, r *markReader) (*receipts.Entry, error) {
	s.mu.Lock()
	_, e := s.register.Find(seq)
	l, ok := s.locateWhole(e)
	if !ok {
		l = &located{seq: seq, marks: s.locateMarks(e.Marks)}
	}
	flags := e.Flags
	s.mu.Unlock()
	defer s.letGo(l)
	out := &receipts.Entry{}
	out.Upload.Seq = seq
	if ok {
		u, err := s.readUpload(l)
		if err != nil && !isDamage(err) {
			return nil, err
		}
		if err == nil {
			out.Upload = *u
			if u.Blob != "" { // in case the upkeep has not come to it
				s.removeBlob(u.Blob)
			}
		} else if s.log.Error("receipt is damaged", "seq", seq, "err", err); flags&register.Lost == 0 {
			return nil, nil
		}
	}
	err := s.readReceipt(out, l.marks, r)
	if err == nil && flags&register.Lost != 0 && !out.Lost() {
		out.Marks = append(out.Marks, &journal.Mark{Seq: seq, Event: seq, At: now(), Reason: LossDamaged, Left: true})
	}
	return out, err
}

func (s *Spool) readReceipt(out *receipts.Entry, marks []markAt, r *markReader) error {
	for _, m := range marks {
		mark, err := r.read(m)
		switch {
		case isDamage(err):
			s.log.Error("receipt is damaged", "seq", out.Upload.Seq, "event", m.event, "err", err)
		case err != nil:
			return err
		default:
			out.Marks = append(out.Marks, mark)
		}
	}
	return nil
}

func isDamage(err error) bool {
	var damage *damageError
	return errors.As(err, &damage)
}

// archiveLearnt adds what was learnt of uploads to their receipts.
func (s *Spool) archiveLearnt(seqs []uint64) error {
	return s.archiveEach(seqs, s.withLearnt)
}

// archiveEach writes the receipts that read gives, of those it gives any of. Uploads
// that came one after the other have their marks in the same records.
func (s *Spool) archiveEach(seqs []uint64, read func(uint64, *markReader) (*receipts.Entry, error)) error {
	var r markReader
	for part := range slices.Chunk(seqs, archiveAtOnce) {
		var entries []*receipts.Entry
		for _, seq := range part {
			e, err := read(seq, &r)
			if err != nil {
				return fmt.Errorf("receipt of %d: %w", seq, err)
			}
			if e != nil {
				entries = append(entries, e)
			}
		}
		err := s.archive.Append(entries)
		if disk.IsFull(err) && s.spendReserve() {
			err = s.archive.Append(entries)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withLearnt returns the receipt of an upload with what was learnt since; nil if
// there is none any longer, or of another upload of the same bytes.
func (s *Spool) withLearnt(seq uint64, r *markReader) (*receipts.Entry, error) {
	s.mu.Lock()
	l := &located{marks: s.locateMarks(s.learnt[seq])}
	s.mu.Unlock()
	defer s.letGo(l)
	learnt := &receipts.Entry{}
	learnt.Upload.Seq = seq
	if err := s.readReceipt(learnt, l.marks, r); err != nil || len(learnt.Marks) == 0 {
		return nil, err
	}
	id, ok := fileOf(learnt.Marks[0].File)
	if !ok {
		return nil, nil
	}
	e, err := s.archive.FindExact(id)
	if err != nil || e == nil || e.Upload.Seq != seq {
		return nil, err
	}
	for _, m := range learnt.Marks {
		if !slices.ContainsFunc(e.Marks, func(k *journal.Mark) bool { return k.Event == m.Event }) {
			e.Marks = append(e.Marks, m)
		}
	}
	return e, nil
}
