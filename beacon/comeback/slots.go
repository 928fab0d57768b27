package comeback

import "time"

// A slot is one second.
type slot struct {
	booked [classes]uint32 // arrivals expected, those that came without a time included
	due    [classes]uint32 // of them, places that are kept
	passed uint32          // due ones of other classes than the best that were let through
}

func sum(n [classes]uint32) (total uint32) {
	for _, v := range n {
		total += v
	}
	return total
}

func (s *Schedule) at(second int64) *slot { return &s.slots[second%int64(len(s.slots))] }

// advance makes now the present: seconds that are over are cleared for their
// next use, and who has not come in time is waited for no longer.
func (s *Schedule) advance(now time.Time) {
	second := now.Unix()
	if second <= s.now { // clocks may go back: then this second lasts longer
		return
	}
	from := max(s.now, second-int64(len(s.slots))) // beyond it everything is over
	for t := from; t < second; t++ {
		past := s.at(t - grace)
		for c, n := range past.due {
			s.waiting[c] -= int(n)
		}
		*past = slot{}
	}
	if s.now == 0 || second-s.now > horizon {
		s.slots, s.waiting = [horizon + grace]slot{}, [classes]int{}
	}
	if s.now > 0 && s.pace.roll(second-s.now) {
		s.hint, s.farHint = [classes]int64{}, [classes]int64{}
	}
	s.now = second
	if s.total() == 0 && len(s.places) > 0 {
		s.places = map[Caller]place{} // a map never shrinks
	}
}

func (s *Schedule) total() (n int) {
	for _, w := range s.waiting {
		n += w
	}
	return n
}

// crowd bounds a second to so many times what is taken in it. A smaller one makes
// better classes wait for worse ones that called first; a larger one lets more
// come only to be sent on.
const crowd = 3

// slack lets those that had a time before and were turned away again squeeze in:
// by a quarter of what fits. More gets them served sooner; less crowds less.
const slack = 4

// room reports whether a second can take one more of a class. It is full for a
// class when it is full of it and better ones: worse ones give way.
func (s *Schedule) room(second int64, c Class, tries uint8) bool {
	sl, fits := s.at(second), s.pace.fits(second)
	most := crowd * fits
	if tries > 0 {
		fits += (fits + slack - 1) / slack
	}
	var upTo uint32
	for _, n := range sl.booked[:c+1] {
		upTo += n
	}
	return upTo < fits && sum(sl.booked) < most
}

// take counts an arrival in a second if there is room for it.
func (s *Schedule) take(second int64, c Class) bool {
	if !s.room(second, c, 0) {
		return false
	}
	s.at(second).booked[c]++
	return true
}

// displaced reports whether a place whose time has come has to make way: better
// ones come in this second, and what they leave is taken.
func (s *Schedule) displaced(p place) bool {
	if p.class == Inventory {
		return false
	}
	sl := s.at(s.now)
	better := sum(sl.booked) - sl.booked[Logs]
	if p.class == Usage {
		better = sl.booked[Inventory]
	}
	if better > 0 && better+sl.passed >= s.pace.fits(s.now) {
		return true
	}
	sl.passed++
	return false
}
