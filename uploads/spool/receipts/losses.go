package receipts

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"
)

// Losses returns the first events with a number above after that are losses, at
// most limit, in the order of their numbers. It reads little besides them.
func (a *Archive) Losses(after uint64, limit int) ([]Event, error) {
	v := a.look()
	defer a.leave(v)
	var all []placedLoss
	for _, l := range slices.Backward(v.logs) {
		for _, one := range l.lossesAfter(after) {
			all = append(all, placedLoss{one, l})
		}
	}
	for _, r := range slices.Backward(v.runs) {
		if r.LastLoss <= after {
			continue
		}
		some, err := r.losses.after(after, limit)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		for _, one := range some {
			all = append(all, placedLoss{one, r})
		}
	}
	// An upload that was replaced has its loss in both files; the newer one counts.
	slices.SortStableFunc(all, func(a, b placedLoss) int { return cmp.Compare(a.event, b.event) })
	all = slices.CompactFunc(all, func(a, b placedLoss) bool { return a.event == b.event })
	return readLosses(all[:min(limit, len(all))])
}

// A placedLoss is one and the file that has its receipt.
type placedLoss struct {
	loss
	in interface {
		at(place uint32) (*Entry, error)
	}
}

func readLosses(all []placedLoss) (out []Event, err error) {
	for _, l := range all {
		e, err := l.in.at(l.place)
		if errors.Is(err, errDamaged) {
			continue // it is counted there
		}
		if err != nil {
			return out, fmt.Errorf("loss %d: %w", l.event, err)
		}
		out = append(out, e.event(l.event))
	}
	return out, nil
}

// A loss is an event that is one, and where its receipt is.
type loss struct {
	event uint64
	place uint32
}

// Losses of a run lie in pages, in the order of their numbers: CRC-32C of what
// follows, how many, then 12 bytes for each.
const (
	lossPage    = 4096
	lossBytes   = 12
	lossHeader  = 8
	lossesAPage = (lossPage - lossHeader) / lossBytes
)

func appendLosses(b []byte, all []loss) []byte {
	slices.SortFunc(all, func(a, b loss) int { return cmp.Compare(a.event, b.event) })
	for part := range slices.Chunk(all, lossesAPage) {
		page := make([]byte, lossPage)
		binary.LittleEndian.PutUint32(page[4:], uint32(len(part)))
		for i, l := range part {
			at := page[lossHeader+i*lossBytes:]
			binary.LittleEndian.PutUint64(at, l.event)
			binary.LittleEndian.PutUint32(at[8:], l.place)
		}
		binary.LittleEndian.PutUint32(page, crc32.Checksum(page[4:], castagnoli))
		b = append(b, page...)
	}
	return b
}

// lossPages is how many pages n losses take.
func lossPages(n uint64) int { return int((n + lossesAPage - 1) / lossesAPage) }

// A lossList is that part of a run.
type lossList struct {
	r     io.ReaderAt
	pages int
}

// after returns up to limit losses with a number above after. Pages that are
// damaged are left out.
func (l lossList) after(after uint64, limit int) (out []loss, err error) {
	hurt := false
	first := sort.Search(l.pages, func(i int) bool {
		page, err := l.page(i)
		hurt = hurt || err != nil
		return err == nil && page[len(page)-1].event > after
	})
	if hurt {
		first = 0
	}
	for i := first; i < l.pages && len(out) < limit; i++ {
		page, err := l.page(i)
		if err != nil && !errors.Is(err, errDamaged) {
			return nil, err
		}
		for _, one := range page {
			if one.event > after && len(out) < limit {
				out = append(out, one)
			}
		}
	}
	return out, nil
}

func (l lossList) page(i int) ([]loss, error) {
	b := make([]byte, lossPage)
	if n, err := l.r.ReadAt(b, int64(i)*lossPage); n < len(b) {
		return nil, fmt.Errorf("read losses: %w", err)
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n == 0 || n > lossesAPage || binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return nil, fmt.Errorf("read losses: %w", errDamaged)
	}
	out := make([]loss, n)
	for i := range out {
		at := b[lossHeader+i*lossBytes:]
		out[i] = loss{binary.LittleEndian.Uint64(at), binary.LittleEndian.Uint32(at[8:])}
	}
	return out, nil
}
