package comeback_test

import (
	"slices"
	"testing"
	"time"

	"inventorybeacon/beacon/comeback"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func caller(id uint64, c comeback.Class) comeback.Caller { return comeback.Caller{ID: id, Class: c} }

func TestEarlyCallerKeepsItsPlace(t *testing.T) {
	s := comeback.New(10, 10)
	for i := range uint64(100) {
		s.Refuse(start, caller(i, comeback.Inventory), 0)
	}
	last := caller(1000, comeback.Inventory)
	wait := s.Refuse(start, last, 0)
	if wait != 11*time.Second {
		t.Fatalf("the hundred-and-first of ten a second waits %v", wait)
	}
	for i := range 9 {
		now := start.Add(time.Duration(i) * time.Second)
		left := wait - now.Sub(start)
		if got := s.Refuse(now, last, 0); got != left {
			t.Errorf("after %v: %v, want %v", now.Sub(start), got, left)
		}
		// The second is full of newcomers, who do not overtake.
		for j := range uint64(10) {
			s.Arrive(now, caller(2000+100*uint64(i)+j, comeback.Inventory), true)
		}
		if got, early := s.Arrive(now, last, true); got != left || !early {
			t.Errorf("arriving after %v: %v, want %v", now.Sub(start), got, left)
		}
	}
	if got, _ := s.Arrive(start.Add(wait), last, true); got != 0 {
		t.Errorf("at its time it waits %v more", got)
	}
	s.Admit(start.Add(wait), last)
	if n := s.Standing(start.Add(wait)).Waiting[comeback.Inventory]; n >= 101+90 {
		t.Errorf("%d still wait", n)
	}
}

func TestNobodyWaitsWithoutPressure(t *testing.T) {
	s := comeback.New(10, 10)
	for i := range uint64(100) {
		s.Refuse(start, caller(i, comeback.Inventory), 0)
	}
	for _, id := range []uint64{5, 500} { // one with a place, one without
		if got, _ := s.Arrive(start, caller(id, comeback.Logs), false); got != 0 {
			t.Errorf("%d waits %v", id, got)
		}
	}
}

func TestBetterClassGoesFirst(t *testing.T) {
	s := comeback.New(10, 10)
	for i := range uint64(100) {
		s.Refuse(start, caller(i, comeback.Inventory), 0)
	}
	usage := s.Refuse(start, caller(1, comeback.Usage), 0)
	logs := s.Refuse(start, caller(1, comeback.Logs), 0)
	late := s.Refuse(start, caller(1000, comeback.Inventory), 0)
	if usage < 10*time.Second || logs < usage || late > 11*time.Second {
		t.Errorf("usage waits %v, logs %v, a later inventory %v", usage, logs, late)
	}
}

// A log that has waited long goes also while inventories never end.
func TestNothingWaitsForEver(t *testing.T) {
	s := comeback.New(10, 10)
	log := caller(1, comeback.Logs)
	next := start.Add(s.Refuse(start, log, 0))
	for now, id := start, uint64(10); ; now = now.Add(time.Second) {
		if now.Sub(start) > 30*time.Minute {
			t.Fatal("it still waits")
		}
		for range 15 { // half as many again as can be taken
			id++
			if wait, _ := s.Arrive(now, caller(id, comeback.Inventory), true); wait == 0 {
				s.Full(now)
				s.Served(now)
			}
		}
		if now.Before(next) {
			continue
		}
		wait, _ := s.Arrive(now, log, true)
		if wait == 0 {
			return
		}
		next = now.Add(wait)
	}
}

func TestPaceFollowsWhatIsTaken(t *testing.T) {
	for _, tt := range []struct {
		name           string
		expected, most float64
		served         int
		least, atMost  float64
	}{
		{"slower than expected", 200, 1000, 20, 18, 24},
		{"faster than expected", 200, 1000, 700, 600, 800},
		{"never more than configured", 200, 300, 700, 300, 300},
		{"a stand-still is no measure", 300, 1000, 0, 10, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := comeback.New(tt.expected, tt.most)
			now := start
			for range 30 {
				s.Full(now)
				for range tt.served {
					s.Served(now)
				}
				now = now.Add(time.Second)
			}
			if got := s.Standing(now).Rate; got < tt.least || got > tt.atMost {
				t.Errorf("%.1f a second", got)
			}
		})
	}
}

func TestWaitIsBounded(t *testing.T) {
	s := comeback.New(2, 2)
	var waits []time.Duration
	for i := range uint64(50_000) {
		waits = append(waits, s.Refuse(start, caller(i, comeback.Inventory), 0))
	}
	if m := slices.Max(waits); m > time.Hour {
		t.Errorf("one waits %v", m)
	}
	again := s.Refuse(start, caller(49_999, comeback.Inventory), 0)
	if again != waits[49_999] {
		t.Errorf("asking again: %v, was %v", again, waits[49_999])
	}
}

// What is remembered does not grow with the number of senders, and is given up
// when they are gone.
func TestMemoryIsBounded(t *testing.T) {
	s := comeback.New(100, 100)
	for i := range uint64(400_000) {
		if got := s.Refuse(start, caller(i, comeback.Logs), time.Minute); got < time.Minute || got > time.Hour {
			t.Fatalf("%d waits %v", i, got)
		}
	}
	if n := s.Standing(start).Waiting[comeback.Logs]; n == 0 || n > 1<<18 {
		t.Errorf("%d places are kept", n)
	}
	if st := s.Standing(start.Add(2 * time.Hour)); st.Waiting[comeback.Logs] != 0 || st.Drained != 0 {
		t.Errorf("two hours later: %+v", st)
	}
}

func TestLeastWaitIsKept(t *testing.T) {
	s := comeback.New(100, 100)
	for i := range uint64(1000) {
		if got := s.Refuse(start, caller(i, comeback.Inventory), time.Minute); got < time.Minute || got > 71*time.Second {
			t.Fatalf("%d waits %v", i, got)
		}
	}
	if got := s.Refuse(start, caller(5000, comeback.Inventory), 0); got != time.Second {
		t.Errorf("who need not wait so long waits %v", got)
	}
}

func BenchmarkRefuse(b *testing.B) {
	s := comeback.New(1000, 1000)
	for i := uint64(0); b.Loop(); i++ {
		s.Refuse(start.Add(time.Duration(i)*time.Millisecond), caller(i%100_000, comeback.Class(i%3)), 0)
	}
}
