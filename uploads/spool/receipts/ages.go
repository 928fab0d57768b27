package receipts

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// ages counts receipts by the day, in UTC, on which something last happened to
// their upload, so that it is known without reading them how many are due to be
// forgotten.
type ages map[int32]uint32

const day = 24 * 60 * 60

func dayOf(latest int64) int32 { return int32(floorDiv(latest, day*1000)) }

func floorDiv(a, b int64) int64 {
	if q := a / b; a%b >= 0 {
		return q
	}
	return a/b - 1
}

func (a ages) add(latest int64) { a[dayOf(latest)]++ }

// before counts those whose whole day was before a time.
func (a ages) before(t time.Time) (n int) {
	if t.IsZero() {
		return 0
	}
	for d, count := range a {
		if d < dayOf(t.UnixMilli()) {
			n += int(count)
		}
	}
	return n
}

const ageBytes = 8

func (a ages) append(b []byte) []byte {
	for _, d := range slices.Sorted(maps.Keys(a)) {
		b = binary.LittleEndian.AppendUint32(b, uint32(d))
		b = binary.LittleEndian.AppendUint32(b, a[d])
	}
	return b
}

func parseAges(b []byte) ages {
	a := ages{}
	for ; len(b) >= ageBytes; b = b[ageBytes:] {
		a[int32(binary.LittleEndian.Uint32(b))] += binary.LittleEndian.Uint32(b[4:])
	}
	return a
}
