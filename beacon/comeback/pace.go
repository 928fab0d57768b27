package comeback

import "math"

// A pace measures how many uploads a second are taken when as many are being
// taken as can be.
type pace struct {
	rate, least, most float64
	served            int  // in this second
	full              bool // in this second everything was taken
}

// growth is what is dared more each second that was not full. A larger one finds
// free capacity sooner; a smaller one overshoots less.
const growth = 1.1

func newPace(rate, most float64) pace {
	most = max(most, 1)
	rate = min(max(rate, 1), most)
	// Below a thirtieth of what was expected nothing is believed: what stands
	// still for a while is no measure.
	return pace{rate: rate, least: max(1, rate/30), most: most}
}

// roll ends a second, or several, and reports whether the pace changed.
func (p *pace) roll(seconds int64) bool {
	before := p.rate
	switch {
	case p.full && float64(p.served) < p.rate:
		p.rate = max(p.least, float64(p.served), p.rate/2)
	case p.full:
		p.rate = min(p.most, float64(p.served))
	}
	if p.full {
		seconds--
	}
	p.rate = min(p.most, p.rate*math.Pow(growth, float64(min(seconds, 100))))
	p.served, p.full = 0, false
	return p.rate != before
}

// fits is how many arrivals a second takes: rates below one a second leave some
// seconds out.
func (p *pace) fits(second int64) uint32 {
	return uint32(math.Floor(float64(second+1)*p.rate) - math.Floor(float64(second)*p.rate))
}
