//go:build linux

package cutdisk

import "math/rand/v2"

// A Mode is what a power cut does to the writes that no flush has followed.
type Mode string

// The modes, from the kindest to the harshest.
const (
	Prefix  Mode = "prefix"  // all are there
	Dropped Mode = "dropped" // any may be missing
	Torn    Mode = "torn"    // any may be missing, or be there in some of its sectors
)

// Modes are all there are.
var Modes = []Mode{Prefix, Dropped, Torn}

// A Cutter makes images of power cuts from a log, in the order of their ticks.
type Cutter struct {
	flushed *Image // everything up to a flush
	pending []Op   // the writes since
	rest    []Op
}

// NewCutter takes what [Disk.Stop] returned.
func NewCutter(base *Image, ops []Op) *Cutter {
	return &Cutter{flushed: base.Clone(), rest: ops}
}

// Cut returns what a cut right after the tick may leave on the disk. The ticks
// of successive cuts must not decrease.
func (c *Cutter) Cut(tick uint64, mode Mode, rng *rand.Rand) *Image {
	c.advance(tick)
	m := c.flushed.Clone()
	keep := rng.Float64()
	whole := rng.IntN(2) == 0 // else each page of a write has a fate of its own
	for _, w := range c.pending {
		piece := pageSize
		if whole {
			piece = len(w.Data)
		}
		for at := 0; at < len(w.Data); at += piece {
			part := Op{Off: w.Off + int64(at), Data: w.Data[at:min(at+piece, len(w.Data))]}
			switch {
			case mode == Prefix || rng.Float64() < keep:
				m.WriteAt(part.Data, part.Off)
			case mode == Torn:
				tear(m, part, rng)
			}
		}
	}
	return m
}

// Unflushed is how many bytes were at stake in the last cut.
func (c *Cutter) Unflushed() (n int64) {
	for _, w := range c.pending {
		n += int64(len(w.Data))
	}
	return n
}

func (c *Cutter) advance(tick uint64) {
	for len(c.rest) > 0 && c.rest[0].Tick <= tick {
		op := c.rest[0]
		c.rest = c.rest[1:]
		if op.Data != nil {
			c.pending = append(c.pending, op)
			continue
		}
		for _, w := range c.pending {
			c.flushed.WriteAt(w.Data, w.Off)
		}
		c.pending = c.pending[:0]
	}
}

// tear writes some sectors: those up to a point, or any.
func tear(m *Image, w Op, rng *rand.Rand) {
	sectors := (len(w.Data) + sectorSize - 1) / sectorSize
	upTo, any := rng.IntN(sectors+1), rng.IntN(2) == 0
	for i := range sectors {
		if any && rng.IntN(2) == 0 || !any && i < upTo {
			at := i * sectorSize
			m.WriteAt(w.Data[at:min(at+sectorSize, len(w.Data))], w.Off+int64(at))
		}
	}
}
