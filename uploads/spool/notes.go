package spool

import (
	"cmp"
	"fmt"
	"slices"

	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/register"
)

// news is a mark that was found: of what it says, what the replay needs.
type news struct {
	seq, event uint64
	at         spot
	bit        uint32 // of the sink that it is of
	sort       journal.Sort
	lost, left bool
	tail       bool
}

func (n *news) markOf() markOf { return markOf{n.seq, markAt{n.event, n.at}, n.left} }

func (r *replayer) readNews(rec journal.Record, tail bool) error {
	marks, err := journal.DecodeMarks(rec.Meta, rec.Seq)
	if err != nil {
		return err
	}
	at := spot{r.byGeneration[rec.Generation], rec.Offset}
	for _, m := range marks {
		n := news{seq: m.Seq, event: m.Event, at: at, sort: m.Sort, lost: m.Lost(), left: m.Left, tail: tail}
		if k := r.spool.sink(m.Sink); k != nil {
			n.bit = k.bit
		}
		r.news = append(r.news, n)
		r.spool.next = max(r.spool.next, m.Event+1)
	}
	return nil
}

// notes applies the marks in the order of their numbers, which is not that of
// their records, since marks are copied.
func (r *replayer) notes() {
	slices.SortStableFunc(r.news, func(a, b news) int { return cmp.Compare(a.event, b.event) })
	for i := 0; i < len(r.news); {
		copies := i + 1
		for copies < len(r.news) && r.news[copies].event == r.news[i].event {
			copies++
		}
		r.note(&r.news[i], r.news[i+1:copies])
		i = copies
	}
}

// note applies a mark. One that was recorded while another one took the file
// out of the spool did not count then and does not count now.
func (r *replayer) note(n *news, copies []news) {
	_, e := r.spool.register.Find(n.seq)
	switch {
	case e == nil:
		r.noteGone(n)
		return
	case (!isHeld(e) || r.left[n.seq]) && n.sort != journal.Learnt:
		return
	case n.tail:
		r.noteTail(n)
	default:
		r.noteKept(e, n)
	}
	// A copy may know more.
	if !n.left && slices.ContainsFunc(copies, func(c news) bool { return c.left }) {
		r.leave(e, n)
	}
}

func (r *replayer) noteKept(e *entry, n *news) {
	s := r.spool
	s.noteAt(e, n.event, n.at.seg, n.at.offset)
	if n.sort == journal.Refused {
		e.Refused |= n.bit
	} else {
		e.Got |= n.bit
		e.Refused &^= n.bit
	}
	if n.lost {
		e.Flags |= register.Lost
		s.addLoss(lossRef{n.event, n.seq})
	}
	if n.left {
		e.Flags |= register.Left
	}
}

// noteTail keeps a mark for being copied. It may have been acknowledged, and
// the body removed.
func (r *replayer) noteTail(n *news) {
	r.marks = append(r.marks, n)
	r.settled[n.seq] |= n.bit
	r.refused[n.seq] &^= n.bit
	if n.sort == journal.Refused {
		r.refused[n.seq] |= n.bit
	}
	r.left[n.seq] = r.left[n.seq] || n.left
}

// noteGone keeps what was learnt of an upload whose record is gone.
func (r *replayer) noteGone(n *news) {
	s := r.spool
	switch {
	case n.sort != journal.Learnt:
	case n.tail:
		r.marks = append(r.marks, n)
	default:
		at := register.Mark{Event: n.event, Segment: n.at.seg.id, Block: uint32(n.at.offset / journal.Block)}
		s.learnt[n.seq] = s.marks.Append(s.learnt[n.seq], at)
		n.at.seg.cover(n.seq)
	}
}

// leave adds to a file's last mark that it left, and sees to it that this is
// recorded.
func (r *replayer) leave(e *entry, n *news) {
	n.left = true
	if n.tail { // it is going to be written again anyway
		r.left[n.seq] = true
		return
	}
	e.Flags |= register.Left
	r.unsaid = append(r.unsaid, n.markOf())
}

// conclude lets files leave that waited only for destinations which are no
// longer configured. It is recorded with the last delivery, if that is the last
// thing that happened, since a later run may know other destinations, and none of
// the bodies.
func (r *replayer) conclude() {
	through := map[uint64]*news{} // with their last marks
	for _, e := range r.spool.register.From(0) {
		need := r.spool.kindOf(e).needs
		refused := (e.Refused &^ r.settled[e.Seq]) | r.refused[e.Seq]
		settled := e.Got | e.Refused | r.settled[e.Seq]
		switch {
		case !isHeld(e) || r.left[e.Seq] || need == 0 || settled&need != need:
		case refused&need != 0:
			r.unwanted = append(r.unwanted, e.Seq)
		default:
			through[e.Seq] = nil
		}
	}
	if len(through) == 0 {
		return
	}
	for i := range r.news {
		n := &r.news[i]
		if last, ok := through[n.seq]; ok && (last == nil || last.event < n.event) {
			through[n.seq] = n
		}
	}
	for seq, n := range through {
		_, e := r.spool.register.Find(seq)
		if n.sort == journal.Settled {
			r.leave(e, n)
		} else { // what came after it left would not count
			r.delivered = append(r.delivered, seq)
		}
	}
}

// dismiss records that those files left which cannot say so by their last mark.
func (r *replayer) dismiss() error {
	s := r.spool
	var marks []*journal.Mark
	for _, seq := range slices.Sorted(slices.Values(r.delivered)) {
		_, e := s.register.Find(seq)
		marks = append(marks, &journal.Mark{Seq: seq, At: now(), Sink: s.sinkNames(e.Got)[0], Left: true})
	}
	for part := range slices.Chunk(marks, marksPerRecord) {
		if err := s.note(part); err != nil {
			return fmt.Errorf("record delivery: %w", err)
		}
	}
	return s.lose(r.unwanted, LossRefused, "refused by a destination; the others are not configured any longer")
}
