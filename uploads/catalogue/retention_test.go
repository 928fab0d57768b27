package catalogue

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/spool"
)

func TestRefusalsAndWhatWasLearntShow(t *testing.T) {
	j := newJournal()
	e := j.put("Logs", "a.log", pc1)
	j.add(Event{What: spool.Refused, Upload: e.Upload, Sink: "lake", Detail: "too large"})
	j.deliver(e, "hub", true)
	stored := []uploads.Custody{{Level: uploads.LevelStore, Beacon: "hub", At: j.at}}
	j.add(Event{What: spool.Learnt, Upload: uploads.Upload{Seq: e.Upload.Seq}, Custody: stored})
	j.add(Event{What: spool.Learnt, Upload: uploads.Upload{Seq: 999}, Custody: stored}) // of a file that is listed no longer
	c := filled(t, j)
	us := listed(t, c, UploadFilter{})
	if len(us) != 1 || us[0].State != StateDelivered || len(us[0].Refusals) != 1 || us[0].Refusals[0].Sink != "lake" || us[0].Refusals[0].Detail != "too large" ||
		!cmp.Equal(us[0].Learnt, stored) {
		t.Errorf("%+v", us)
	}
	if missing := us[0].MissingFrom([]Sink{{Name: "hub"}, {Name: "lake"}, {Name: "disk"}}); len(missing) != 1 || missing[0].Name != "disk" {
		t.Errorf("missing from %+v", missing)
	}
	if files, err := c.NotStored(t.Context(), "hub", time.Time{}, 10); err != nil || len(files) != 0 {
		t.Errorf("asked about again: %+v, %v", files, err)
	}
}

func TestRetentionByAgeKindAndCount(t *testing.T) {
	const day = 24 * time.Hour
	j := newJournal()
	var names []string
	for i := range 10 { // one a day, in turns of two kinds
		kind, ext := "Logs", ".log"
		if i%2 == 1 {
			kind, ext = "Inventories", ".ndi"
		}
		names = append(names, "f"+string(rune('0'+i))+ext)
		e := j.put(kind, names[i], pc1)
		if i > 0 { // the first still waits
			j.deliver(e, "disk", true)
		}
		j.at = j.at.Add(day)
	}
	for name, tt := range map[string]struct {
		o    Options
		want []int // those that stay
	}{
		"all":       {Options{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		"by age":    {Options{Horizon: 4*day + time.Hour}, []int{0, 6, 7, 8, 9}},
		"by kind":   {Options{KindHorizons: map[string]time.Duration{"logs": 3 * day}}, []int{0, 1, 3, 5, 7, 8, 9}},
		"by count":  {Options{MaxUploads: 3}, []int{0, 8, 9}},
		"all three": {Options{Horizon: 6 * day, MaxUploads: 3, KindHorizons: map[string]time.Duration{"Inventories": 2 * day}}, []int{0, 8, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			c := fresh(t, tt.o)
			catchUp(t, c, j)
			if err := c.prune(t.Context(), j.at); err != nil {
				t.Fatal(err)
			}
			got := namesOf(listed(t, c, UploadFilter{}))
			slices.Sort(got)
			var want []string
			for _, i := range tt.want {
				want = append(want, names[i])
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			var orphans int
			row := c.store.r.QueryRow(`SELECT count(*) FROM deliveries WHERE seq NOT IN (SELECT seq FROM uploads)`)
			if err := row.Scan(&orphans); err != nil || orphans != 0 {
				t.Errorf("%d deliveries of nothing, %v", orphans, err)
			}
		})
	}
}

// cut is a journal that ends with an error after so many events, once.
type cut struct {
	*journal
	after int
}

func (c *cut) Events(after uint64) iter.Seq2[Event, error] {
	left := c.after
	c.after = -1
	return func(yield func(Event, error) bool) {
		for e, err := range c.journal.Events(after) {
			if left == 0 {
				yield(Event{}, errors.New("disk gone"))
				return
			}
			left--
			if !yield(e, err) {
				return
			}
		}
	}
}

// A reindex that ends early leaves no gap: what is observed next is not taken for
// what follows.
func TestReindexThatEndsEarlyIsBegunAgain(t *testing.T) {
	j := many(300)
	want := snapshot(t, filled(t, j))
	c := filled(t, j)
	stop := run(t, c, j)
	if err := c.Reindex(t.Context(), &cut{j, 100}); err == nil {
		t.Fatal("it did not end early; the test shows nothing")
	}
	c.Observe(Event{Seq: uint64(len(j.events)) + 1, What: "nothing"})
	if err := c.Sync(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	stop()
	got := snapshot(t, c)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A clock that is years ahead for a while takes little with it; one that is right
// forgets what is due, if not at once after a long pause.
func TestWrongClockForgetsLittle(t *testing.T) {
	const day = 24 * time.Hour
	j := newJournal()
	for i := range 10 { // one a day
		j.deliver(j.put("Logs", "f"+string(rune('0'+i))+".log", pc1), "disk", true)
		j.at = j.at.Add(day)
	}
	c := fresh(t, Options{Horizon: 10*day + 12*time.Hour})
	catchUp(t, c, j)
	left := func(now time.Time) int {
		t.Helper()
		if err := c.prune(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		return len(listed(t, c, UploadFilter{}))
	}
	leaf := Teller{Beacon: "leaf", Child: "leaf"}
	tells(t, c, leaf, j.at, fleet.Device{Name: "ws1", Seen: j.at})
	words := func() int {
		t.Helper()
		all, err := c.Words(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if n := left(j.at); n != 10 {
		t.Fatalf("%d are left of what is not due", n)
	}
	for range 4 { // hours
		left(j.at.AddDate(10, 0, 0))
	}
	if n := left(j.at); n != 9 {
		t.Errorf("%d are left after a clock was wrong for four hours", n)
	}
	tells(t, c, Teller{Beacon: "hub", Child: "hub"}, j.at.AddDate(10, 0, 0))
	if n := words(); n != 2 {
		t.Errorf("%d words are left", n)
	}
	n := 9
	for i := 0; n > 0 && i < 50; i++ {
		n = left(j.at.AddDate(1, 0, 0))
	}
	if n != 0 {
		t.Errorf("%d stay for good", n)
	}
}
