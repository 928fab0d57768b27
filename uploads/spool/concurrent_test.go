package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// TestConcurrentUploadsOnFailingDisk: many senders and a relay at once, on a
// disk that fails now and then and loses its power in the end: whatever was
// acknowledged is held or was delivered.
func TestConcurrentUploadsOnFailingDisk(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := recycling()
			o.SegmentBytes = 128 << 10
			o.Recycle = seed%2 == 0
			m := disktest.NewMemory()
			s := onMemory(t, m, o)
			fails := rand.New(rand.NewPCG(seed, 0))
			m.SetFault(func(op disktest.Op, _ string) error {
				if (op == disktest.OpSync || op == disktest.OpWrite || op == disktest.OpCreate) && fails.IntN(40) == 0 {
					return errors.New("no luck")
				}
				return nil
			})
			acked, delivered := storm(s, 6, 30)
			m = m.Cut(rand.New(rand.NewPCG(seed, 1)))
			s.Close()
			s = onMemory(t, m, o)
			if rec := s.Recovery(); len(rec.Lost)+rec.DamagedReceipts > 0 {
				t.Errorf("recovery %+v", rec)
			}
			pending := map[string]bool{}
			for _, u := range s.Pending("up", 0, 1<<20) {
				id := u.Receipt().ID
				if pending[id] || delivered[id] {
					t.Errorf("%s is doubled", u.Name)
				}
				pending[id] = true
				if got := read(t, s, u.Seq); uploads.DigestOf(got) != u.Digest {
					t.Errorf("%s: wrong bytes", u.Name)
				}
			}
			left := map[string]bool{} // a delivery may count that was told to have failed
			for e, err := range s.Events(0) {
				if err != nil {
					t.Fatal(err)
				}
				left[e.Upload.Receipt().ID] = left[e.Upload.Receipt().ID] || e.Left
			}
			for id, r := range acked {
				if _, ok := s.FindExact(r.Kind, name(t, r.Name), r.SHA256); !ok {
					t.Errorf("the receipt of %s is gone", r.Name)
				}
				if !pending[id] && !left[id] {
					t.Errorf("%s is gone", r.Name)
				}
			}
			if len(acked) < 60 {
				t.Errorf("only %d were acknowledged", len(acked))
			}
		})
	}
}

// storm sends from several senders, everything twice, and delivers some.
func storm(s *spool.Spool, senders, each int) (acked map[string]uploads.Receipt, delivered map[string]bool) {
	var mu sync.Mutex
	acked, delivered = map[string]uploads.Receipt{}, map[string]bool{}
	var wg sync.WaitGroup
	for c := range senders {
		wg.Go(func() {
			for i := range each {
				n, _ := uploads.ParseName(fmt.Sprintf("c%d n%d.ndi", c/2, i)) // two senders send the same
				body := content(c/2*1000+i, []int{10, 3000, 20 << 10, 50 << 10}[i%4])
				r, err := s.Accept(context.Background(), spool.Draft{Kind: kind, Name: n, Length: -1}, bytes.NewReader(body))
				if err == nil {
					mu.Lock()
					acked[r.ID] = r
					mu.Unlock()
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			for _, u := range s.Pending("up", 0, 10) {
				if err := s.Deliver("up", []spool.Mark{{Seq: u.Seq}}); err == nil {
					mu.Lock()
					delivered[u.Receipt().ID] = true
					mu.Unlock()
				}
			}
		}
	})
	wg.Wait()
	return acked, delivered
}
