package custody_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
)

func holders(levels ...string) (out []uploads.Custody) {
	for _, l := range levels {
		out = append(out, uploads.Custody{Level: l, Beacon: "b-" + l})
	}
	return out
}

func TestCustodyReaches(t *testing.T) {
	for _, tt := range []struct {
		have []uploads.Custody
		want [3]bool // beacon, parent, store
		high string
	}{
		{nil, [3]bool{}, ""},
		{holders("beacon"), [3]bool{true, false, false}, "beacon"},
		{holders("beacon", "parent"), [3]bool{true, true, false}, "parent"},
		{holders("beacon", "store"), [3]bool{true, true, true}, "store"}, // a beacon without a parent
		{holders("store", "beacon"), [3]bool{true, true, true}, "store"},
		{holders("unproven"), [3]bool{}, ""},
	} {
		for i, level := range custody.Levels {
			if got := custody.Reached(tt.have, level); got != tt.want[i] {
				t.Errorf("%v reached %s: %v", tt.have, level, got)
			}
		}
		if got := custody.Highest(tt.have); got != tt.high {
			t.Errorf("highest of %v: %q", tt.have, got)
		}
	}
}

func TestCustodyTellsNews(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later := uploads.Custody{Level: "parent", Beacon: "b-parent", At: at}
	store := uploads.Custody{Level: "store", Beacon: "hub", At: at}
	news := custody.News(holders("beacon", "parent"), []uploads.Custody{later, store, store})
	if !slices.Equal(news, []uploads.Custody{store}) {
		t.Errorf("news %v", news)
	}
}

var start = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)

func file(t *testing.T, n int) custody.File {
	t.Helper()
	name, err := uploads.ParseName(fmt.Sprintf("PC%d.log", n))
	if err != nil {
		t.Fatal(err)
	}
	return custody.File{Kind: "Logs", Name: name, Digest: uploads.DigestOf([]byte{byte(n)})}
}

func TestQuestionsComeFurtherAndFurtherApart(t *testing.T) {
	q, now := custody.NewQuestions(10), start
	q.Add(file(t, 1), now)
	q.Add(file(t, 1), now) // once is enough
	var gaps []time.Duration
	for q.Len() > 0 {
		due, ok := q.Due()
		if !ok {
			t.Fatal("nothing is due")
		}
		if _, early := q.Next(due.Add(-1)); early {
			t.Fatal("asked before it was due")
		}
		f, ok := q.Next(due)
		if !ok || f != file(t, 1) {
			t.Fatalf("%v, %v", f, ok)
		}
		gaps, now = append(gaps, due.Sub(now)), due
		q.Again(f, now)
	}
	s := time.Second
	if !slices.Equal(gaps[:6], []time.Duration{10 * s, 10 * s, 20 * s, 40 * s, 80 * s, 160 * s}) {
		t.Errorf("gaps begin %v", gaps[:6])
	}
	if total := now.Sub(start); slices.Max(gaps) != 6*time.Hour || total < 6*24*time.Hour || total > 9*24*time.Hour {
		t.Errorf("longest gap %v, given up after %v", slices.Max(gaps), total)
	}
}

func TestQuestionsAreAskedSoonerIfSomebodyWaits(t *testing.T) {
	q := custody.NewQuestions(10)
	f := file(t, 1)
	q.Urge(f, start)
	if got, ok := q.Next(start); !ok || got != f {
		t.Fatalf("%v, %v", got, ok)
	}
	q.Urge(f, start) // while it is being asked: nothing more to do
	q.Again(f, start)
	q.Urge(f, start.Add(time.Second))
	if due, _ := q.Due(); due != start.Add(5*time.Second) {
		t.Errorf("due after %v", due.Sub(start))
	}
	for range 5 {
		q.Next(start.Add(time.Hour))
		q.Again(f, start.Add(time.Hour))
	}
	q.Urge(f, start.Add(time.Hour))
	if due, _ := q.Due(); due != start.Add(time.Hour+5*time.Second) {
		t.Errorf("due after %v", due.Sub(start))
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	q := custody.NewQuestions(8)
	for i := range 20 {
		q.Add(file(t, i), start)
	}
	if q.Len() != 8 || q.Forgotten() != 12 {
		t.Errorf("%d kept, %d forgotten", q.Len(), q.Forgotten())
	}
	for i := range 20 {
		q.Urge(file(t, i), start)
	}
	if q.Len() != 10 {
		t.Errorf("%d kept", q.Len())
	}
	for i := range 20 {
		q.Done(file(t, i))
		q.Done(file(t, i)) // again does no harm
	}
	if _, due := q.Due(); due || q.Len() != 0 {
		t.Errorf("%d kept", q.Len())
	}
}
