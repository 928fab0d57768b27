package journal

import (
	"cmp"
	"slices"
)

// A Segment is what was read of one active segment file.
type Segment struct {
	Name    string
	Header  Header
	Records []Record
	// Sealed says that the records come from the index.
	Sealed bool
	// Summary, of a sealed segment that no cut touches, stands for its records:
	// they count, and the verdict does not list them.
	Summary *Summary
}

// A Loss is a run of sequence numbers that were durable and are unreadable.
type Loss struct {
	Generation  uint64
	First, Last uint64
	// Record is set if it is one record whose metadata is known.
	Record *Record
}

// A Verdict is what the segments of a journal mean together.
type Verdict struct {
	// Kept records count, ascending by number.
	Kept []Record
	// Tail records are intact but newer than the mark: nobody was told that they
	// are durable, and the bytes read may never have reached the disk. Whoever
	// wants them writes them again elsewhere. Ascending by number.
	Tail []Record
	// Lost are acknowledged and unreadable.
	Lost []Loss
	// Cuts are to be made durable before anything else is written.
	Cuts []Cut
	// Known cuts were recorded by earlier runs.
	Known []Cut
	// Mark is the highest number known durable, Next the first that was never used.
	Mark, Next uint64
	// Clean says that the last segment ends with a close, so that writing may go
	// on behind it.
	Clean bool
}

// Replay judges segments by the rules of the journal:
//
//   - a record that is bad, or missing between others, at or below a mark is lost;
//   - above the mark, the first bad one and everything behind it is cut, and
//     what is intact before it is a tail;
//   - nothing inside a recorded cut is a loss, and its numbers are not used again;
//   - only a journal that ends with a close is clean.
func Replay(segments []Segment) Verdict {
	segments = slices.Clone(segments)
	slices.SortFunc(segments, func(a, b Segment) int { return cmp.Compare(a.Header.Base, b.Header.Base) })
	r := replay{cuts: map[uint64]uint64{}}
	r.findCuts(segments)
	r.findMark(segments)
	for i := range segments {
		var next *Segment
		if i+1 < len(segments) && segments[i+1].Header.Prev == segments[i].Header.Generation {
			next = &segments[i+1]
		}
		r.judge(&segments[i], next)
	}
	slices.SortFunc(r.Kept, func(a, b Record) int { return cmp.Compare(a.Seq, b.Seq) })
	slices.SortFunc(r.Tail, func(a, b Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return r.Verdict
}

type replay struct {
	Verdict
	cuts map[uint64]uint64 // generation to first number
}

// findCuts goes from the newest segment to the oldest, since a cut that lies in
// what was itself cut does not count.
func (r *replay) findCuts(segments []Segment) {
	for _, s := range slices.Backward(segments) {
		records := s.Records
		if s.Summary != nil {
			records = s.Summary.Cuts
		}
		for _, rec := range records {
			if rec.Type != TypeCut || !rec.Intact || r.isCut(s.Header.Generation, rec.Seq) {
				continue
			}
			c, err := DecodeCut(rec.Meta)
			if err != nil {
				continue
			}
			if first, ok := r.cuts[c.Generation]; !ok || c.First < first {
				r.cuts[c.Generation] = c.First
			}
		}
	}
	for generation, first := range r.cuts {
		r.Known = append(r.Known, Cut{generation, first})
	}
}

func (r *replay) isCut(generation, seq uint64) bool {
	first, ok := r.cuts[generation]
	return ok && seq >= first
}

// findMark finds the mark, the first unused number, and whether the end is clean.
func (r *replay) findMark(segments []Segment) {
	for i, s := range segments {
		r.Next = max(r.Next, s.Header.Base)
		if s.Summary != nil {
			r.Next = max(r.Next, s.Summary.Last+1)
			r.Mark = max(r.Mark, s.Summary.Last) // an index is written behind durable records
			continue
		}
		for j, rec := range s.Records {
			r.Next = max(r.Next, rec.Last()+1)
			r.Mark = max(r.Mark, rec.Mark)
			if r.isCut(s.Header.Generation, rec.Seq) {
				continue
			}
			if s.Sealed {
				r.Mark = max(r.Mark, rec.Last()) // an index is written behind durable records
			}
			last := i == len(segments)-1 && j == len(s.Records)-1
			if last && rec.Type == TypeClose && rec.Intact && !s.Sealed {
				r.Clean = rec.Mark+1 == rec.Seq
			}
		}
	}
	if len(segments) == 0 {
		r.Clean, r.Next = true, 1
	}
}

// judge goes through one segment; next is the one written straight after it,
// if that is known.
func (r *replay) judge(s *Segment, next *Segment) {
	if s.Summary != nil {
		return
	}
	want := s.Header.Base
	for i := range s.Records {
		rec := &s.Records[i]
		if r.isCut(s.Header.Generation, rec.Seq) {
			r.gap(s, want, r.cuts[s.Header.Generation])
			return
		}
		if !r.gap(s, want, rec.Seq) {
			return
		}
		switch {
		case rec.Seq < want: // a copy of a record in a damaged body; its place is taken
			continue
		case !rec.Intact && rec.Seq > r.Mark:
			r.cut(s, rec.Seq)
			return
		case !rec.Intact:
			r.Lost = append(r.Lost, Loss{s.Header.Generation, rec.Seq, rec.Last(), rec})
		case rec.Seq > r.Mark && !(r.Clean && rec.Type == TypeClose):
			r.Tail = append(r.Tail, *rec)
		default:
			r.Kept = append(r.Kept, *rec)
		}
		want = rec.Last() + 1
	}
	r.end(s, next, want)
}

// gap deals with the numbers from want up to have that no record was found
// for; it is false if the rest of the segment is cut.
func (r *replay) gap(s *Segment, want, have uint64) bool {
	if have <= want {
		return true
	}
	if want > r.Mark {
		r.cut(s, want)
		return false
	}
	r.Lost = append(r.Lost, Loss{Generation: s.Header.Generation, First: want, Last: min(have-1, r.Mark)})
	if have-1 > r.Mark {
		r.cut(s, r.Mark+1)
		return false
	}
	return true
}

// end deals with what may be missing behind the last record found.
func (r *replay) end(s *Segment, next *Segment, want uint64) {
	if next != nil && !s.Sealed {
		last := next.Header.Base
		if first, ok := r.cuts[s.Header.Generation]; ok {
			last = min(last, first)
		}
		if !r.gap(s, want, last) {
			return
		}
	}
	_, known := r.cuts[s.Header.Generation]
	if open := next == nil && !s.Sealed; open && !known && !r.Clean {
		r.cut(s, max(want, r.Mark+1))
		return
	}
	if len(r.Tail) > 0 && r.Tail[len(r.Tail)-1].Generation == s.Header.Generation && !known {
		r.cut(s, r.Mark+1)
	}
}

// cut leaves out everything from first on; what is intact before it and above
// the mark has to be written again, so the cut is made at the mark.
func (r *replay) cut(s *Segment, first uint64) {
	from := max(min(first, r.Mark+1), s.Header.Base)
	r.Cuts = append(r.Cuts, Cut{s.Header.Generation, from})
	r.cuts[s.Header.Generation] = from
	// Numbers may have been given to ranges that left no trace.
	r.Next = max(r.Next, first+uint64(s.Header.Capacity/Block))
}
