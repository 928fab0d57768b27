package spool

import (
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/register"
)

// rebuilt stands for a mark whose record the disk did not keep: it says what is
// known to have come of it and no other mark of the upload says. When it came, and
// with which words, is lost.
func (s *Spool) rebuilt(m markOf) (*journal.Mark, error) {
	s.mu.Lock()
	_, e := s.register.Find(m.seq)
	if e == nil {
		s.mu.Unlock()
		return nil, errUnreadable
	}
	state := *e
	l := &located{marks: s.locateMarks(e.Marks)}
	s.mu.Unlock()
	defer s.letGo(l)
	var r markReader
	unsaid, before, behind := unsaidOf(&state), 0, 0
	for _, at := range l.marks {
		mark, err := r.read(at)
		switch {
		case err == nil:
			s.said(&unsaid, mark)
		case !isDamage(err):
			return nil, err
		case at.event < m.event:
			before++
		case at.event > m.event:
			behind++
		}
	}
	s.log.Error("mark is damaged: it is told again from what is known", "seq", m.seq, "event", m.event)
	return s.markFor(m, unsaid, before, behind == 0), nil
}

// An unsaid is what is true of an upload and to be said by the marks that are
// damaged.
type unsaid struct {
	got, refused uint32
	left, lost   bool
}

func unsaidOf(e *entry) unsaid {
	return unsaid{got: e.Got, refused: e.Refused, left: e.Is(register.Left), lost: e.Is(register.Lost)}
}

// said takes out what a mark says.
func (s *Spool) said(u *unsaid, m *journal.Mark) {
	if k := s.sink(m.Sink); k != nil {
		u.got &^= k.bit
		u.refused &^= k.bit
	}
	u.left = u.left && !m.Left
	u.lost = u.lost && !m.Lost()
}

// markFor makes a mark of what is unsaid: each damaged one says it of one sink, in
// their order, and the last one how the file left.
func (s *Spool) markFor(m markOf, u unsaid, before int, last bool) *journal.Mark {
	out := &journal.Mark{Seq: m.seq, Event: m.event, Sort: journal.Learnt, At: now()}
	for _, k := range s.sinks {
		if (u.got|u.refused)&k.bit == 0 {
			continue
		}
		if before--; before < 0 {
			out.Sink, out.Sort = k.Name, journal.Settled
			if u.refused&k.bit != 0 {
				out.Sort = journal.Refused
			}
			break
		}
	}
	if !last || !u.left {
		return out
	}
	out.Left = true
	if u.lost {
		return lostMark(m.seq, m.event)
	}
	if out.Sort == journal.Learnt {
		out.Sort = journal.Settled
	}
	return out
}

// lostMark stands for a mark of a loss that the disk did not keep.
func lostMark(seq, event uint64) *journal.Mark {
	return &journal.Mark{
		Seq: seq, Event: event, At: now(), Left: true,
		Reason: LossDamaged, Detail: "the disk did not keep why it was lost",
	}
}
