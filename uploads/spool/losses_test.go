package spool_test

import (
	"fmt"
	"sync"
	"testing"

	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// TestManyLossesLeaveWithTheirSegment: of more losses than are looked at under one
// lock, those whose segment is freed are forgotten, and told from the archive.
func TestManyLossesLeaveWithTheirSegment(t *testing.T) {
	o := small()
	o.SegmentBytes = 16 << 20
	s := onMemory(t, disktest.NewMemory(), o)
	const files = 5000
	var senders sync.WaitGroup
	for w := range 50 {
		senders.Go(func() {
			for i := w; i < files; i += 50 {
				accept(t, s, fmt.Sprintf("f%d.ndi", i), []byte{1})
			}
		})
	}
	senders.Wait()
	fill(t, s, files, 40, 1<<19) // the rest of the segment, and another one
	for seq := range uint64(files + 41) {
		if seq > 0 {
			if err := s.Lose(seq, spool.LossOperator, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(t, s, files+50, 40, 1<<19)
	s.WaitTidy()
	if n := s.StaleLosses(); s.Stats().SegmentsFreed == 0 || n > 0 {
		t.Errorf("%d losses are remembered, %+v", n, s.Stats())
	}
	lost, err := s.Losses(0, 2*files)
	if err != nil || len(lost) != files+40 {
		t.Errorf("%d losses, %v", len(lost), err)
	}
}
