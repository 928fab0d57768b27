package catalogue

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// many is a journal of n files from a few devices, delivered one by one.
func many(n int) *journal {
	j := newJournal()
	for i := range n {
		e := j.put("Logs", fmt.Sprintf("f%d.log", i), uploads.Device{Domain: "D", Name: fmt.Sprint("pc", i%7)})
		switch i % 3 {
		case 0:
			j.deliver(e, "disk", true)
		case 1:
			j.lose(e, spool.LossAge)
		}
	}
	return j
}

func synced(t *testing.T, c *Catalogue) {
	t.Helper()
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestCatalogueFollowsTheJournal(t *testing.T) {
	j, c := newJournal(), fresh(t, Options{})
	run(t, c, j)
	e := j.put("Logs", "a.log", pc1)
	c.Observe(e)
	synced(t, c)
	if got := namesOf(listed(t, c, UploadFilter{State: StateWaiting})); len(got) != 1 {
		t.Errorf("waiting: %v", got)
	}
	c.Observe(j.deliver(e, "disk", true))
	c.Seen(seen(pc1, "a1", "192.0.2.7", j.at))
	synced(t, c)
	if got := namesOf(listed(t, c, UploadFilter{State: StateDelivered})); len(got) != 1 {
		t.Errorf("delivered: %v", got)
	}
	if d := device(t, c, "pc1"); len(d.Contacts) != 1 {
		t.Errorf("contacts: %+v", d.Contacts)
	}
}

// What does not fit into the backlog is read from the journal: nothing waits and nothing is missing.
// The index is written behind a burst, not in it; but a burst that goes on and
// on, and who asks, do not wait for its end.
func TestCatalogueWritesBehindABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, c := newJournal(), fresh(t, Options{})
		run(t, c, j)
		synced(t, c) // its first round leaves nothing for later
		burst := func(long time.Duration) {
			for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				c.Observe(j.put("Logs", fmt.Sprint(time.Now().UnixNano(), ".log"), pc1))
			}
		}
		queue := func() int { synctest.Wait(); return c.Stats().Queue }
		burst(4 * time.Second)
		if n := queue(); n != 400 {
			t.Errorf("%d of 400 wait in the burst", n)
		}
		time.Sleep(time.Second)
		if n := queue(); n != 0 {
			t.Errorf("%d wait after it", n)
		}
		burst(8 * time.Second)
		if n := queue(); n > 400 {
			t.Errorf("%d of 800 wait in a long burst", n)
		}
		burst(time.Second)
		synced(t, c)
		if n := queue(); n != 0 {
			t.Errorf("%d wait once somebody asked", n)
		}
	})
}

func TestCatalogueFallsBehindAndCatchesUp(t *testing.T) {
	j := many(2500)
	want := snapshot(t, filled(t, j))
	c := fresh(t, Options{})
	c.backlog.size = 500
	for _, e := range j.events { // nobody takes them: Observe must not wait
		c.Observe(e)
	}
	if c.Stats().Dropped == 0 {
		t.Fatal("the backlog took everything; the test shows nothing")
	}
	run(t, c, j)
	synced(t, c)
	if d := cmp.Diff(want, snapshot(t, c)); d != "" {
		t.Error(d)
	}
}

// The same while events keep coming in front of a running loop, with no help
// from Sync.
func TestCatalogueFallsBehindWhileRunning(t *testing.T) {
	all := many(2500)
	want := snapshot(t, filled(t, all))
	j, c := newJournal(), fresh(t, Options{})
	c.backlog.size = 100
	run(t, c, j)
	for i, e := range all.events {
		j.mu.Lock()
		j.events = append(j.events, e)
		j.mu.Unlock()
		c.Observe(e)
		if i == len(all.events)/2 {
			synced(t, c) // catches up in the middle, and takes events again
		}
	}
	last := all.events[len(all.events)-1].Seq
	for deadline := time.Now().Add(30 * time.Second); c.Position() < last; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("at %d of %d: %+v", c.Position(), last, c.Stats())
		}
	}
	if d := cmp.Diff(want, snapshot(t, c)); d != "" {
		t.Error(d)
	}
	if s := c.Stats(); s.Dropped == 0 || s.CaughtUp < 2 {
		t.Errorf("it never fell behind: %+v", s)
	}
}

// The backlog never holds what comes after a gap.
func TestBacklogHasNoGaps(t *testing.T) {
	b := backlog{size: 3}
	for seq := range uint64(5) {
		if took := b.add(Event{Seq: seq}); took != (seq < 3) {
			t.Errorf("event %d taken: %v", seq, took)
		}
	}
	if got := b.take(2); len(got) != 2 || got[0].Seq != 0 {
		t.Errorf("took %+v", got)
	}
	if b.add(Event{Seq: 5}) {
		t.Error("took an event behind a gap")
	}
	if behind, _ := b.gap(); !behind || b.len() != 1 {
		t.Errorf("behind %v with %d", behind, b.len())
	}
	b.resume()
	if !b.add(Event{Seq: 6}) || b.len() != 1 {
		t.Error("does not take events again")
	}
}

func TestCatalogueWritesWhatIsLeftWhenItStops(t *testing.T) {
	j, file := newJournal(), filepath.Join(t.TempDir(), "catalog.db")
	c := openAt(t, file, Options{})
	stop := run(t, c, j)
	synced(t, c)
	c.Observe(j.put("Logs", "last.log", pc1))
	c.Seen(seen(pc1, "a1", "192.0.2.7", j.at))
	stop()
	if d := device(t, c, "pc1"); d.Uploads != 1 || len(d.Contacts) != 1 {
		t.Errorf("device: %+v", d)
	}
}

func TestCatalogueTriesAgainWhenTheJournalFails(t *testing.T) {
	j, c := many(10), fresh(t, Options{})
	j.fail = errors.New("disk on fire")
	run(t, c, j)
	if err := c.Sync(t.Context()); !errors.Is(err, j.fail) {
		t.Fatalf("sync: %v, want %v", err, j.fail)
	}
	j.mu.Lock()
	j.fail = nil
	j.mu.Unlock()
	synced(t, c)
	if got := listed(t, c, UploadFilter{}); len(got) != 10 || c.Stats().Failures == 0 {
		t.Errorf("%d uploads, stats %+v", len(got), c.Stats())
	}
}

// A journal that was lost and begun again has numbers that were used before.
func TestCatalogueNoticesAnotherJournal(t *testing.T) {
	for name, j := range map[string]*journal{"empty": newJournal(), "shorter": day(), "longer": many(50), "the same": many(20)} {
		t.Run(name, func(t *testing.T) {
			old, file := many(20), filepath.Join(t.TempDir(), "catalog.db")
			c, err := Open(t.Context(), file, Options{})
			if err != nil {
				t.Fatal(err)
			}
			catchUp(t, c, old)
			see(t, c, seen(uploads.Device{Domain: "D", Name: "pc1"}, "a1", "192.0.2.7", old.at))
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if name == "longer" {
				j.events[30].Upload.Size++ // what is indexed has another content here
				for i := range j.events {
					j.events[i].Upload.Digest[0]++
				}
			}
			c = openAt(t, file, Options{})
			catchUp(t, c, j)
			want := snapshot(t, filled(t, j))
			got := snapshot(t, c)
			forgetContacts(&want)
			forgetContacts(&got)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if asked, again := j.asked, name != "the same"; (asked == 3) != again || (asked == 2) == again {
				t.Errorf("the journal was read %d times, once of that for comparison", asked)
			}
			if tr := trace(t, c, "D/pc1"); len(tr.Strangers)+len(tr.Devices) == 0 {
				t.Error("its contact is forgotten")
			}
		})
	}
}

func forgetContacts(s *contents) {
	s.Counts.Strangers = 0
	for i := range s.Devices {
		s.Devices[i].Contacts, s.Devices[i].LastSeen = nil, time.Time{}
	}
}

// An event that is unreadable for good does not keep the rest out.
func TestCatalogueLeavesOutWhatTheJournalCannotRead(t *testing.T) {
	j, c := many(30), fresh(t, Options{})
	run(t, c, unreadable{j, 5})
	synced(t, c)
	if got := len(listed(t, c, UploadFilter{})); got != 29 || c.Stats().Unreadable != 1 {
		t.Errorf("%d uploads, %d unreadable", got, c.Stats().Unreadable)
	}
}

// unreadable is a journal of which one event is damaged.
type unreadable struct {
	*journal
	seq uint64
}

func (u unreadable) Events(after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e := range u.journal.Events(after) {
			var err error
			if e.Seq == u.seq {
				e, err = Event{Seq: e.Seq}, errors.New("bad sum")
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestCatalogueReindexRestoresWhileRunning(t *testing.T) {
	j, c := day(), fresh(t, Options{})
	run(t, c, j)
	synced(t, c)
	c.Seen(seen(pc1, "a1", "192.0.2.7", j.at))
	synced(t, c)
	want := snapshot(t, c)
	if _, err := c.store.w.Exec(`UPDATE uploads SET state = 'lost', device = 'wrong'; DELETE FROM losses; DELETE FROM deliveries`); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, snapshot(t, c)); d == "" {
		t.Fatal("the harm cannot be seen; the test shows nothing")
	}
	if err := c.Reindex(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, snapshot(t, c)); d != "" {
		t.Error(d)
	}
}

func TestCatalogueReplacesFileFoundDamagedByQuery(t *testing.T) {
	j, file := many(3000), filepath.Join(t.TempDir(), "catalog.db")
	c := openAt(t, file, Options{})
	run(t, c, j)
	synced(t, c)
	want := listed(t, c, UploadFilter{Limit: MaxLimit})
	for _, db := range []interface{ SetMaxIdleConns(int) }{c.store.r} {
		db.SetMaxIdleConns(0) // so that nothing is remembered in memory
	}
	if _, err := c.store.w.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		t.Fatal(err)
	}
	spoil(t, file)
	deadline := time.Now().Add(20 * time.Second)
	for c.Stats().Recreated == 0 {
		_, _ = c.Uploads(t.Context(), UploadFilter{Limit: MaxLimit})
		if time.Now().After(deadline) {
			t.Fatal("the damage was not found")
		}
	}
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, listed(t, c, UploadFilter{Limit: MaxLimit})); d != "" {
		t.Error(d)
	}
}

// spoil overwrites all pages but the first.
func spoil(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	garbage := make([]byte, fi.Size()-4096)
	for i := range garbage {
		garbage[i] = 0xa5
	}
	if _, err := f.WriteAt(garbage, 4096); err != nil {
		t.Fatal(err)
	}
}

func TestCatalogueAnswersWhileItIsWritten(t *testing.T) {
	j, c := many(3000), fresh(t, Options{})
	run(t, c, j)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				us, err := c.Uploads(t.Context(), UploadFilter{Limit: 20})
				if err != nil {
					t.Error(err)
					return
				}
				for i := range us[min(1, len(us)):] {
					if us[i].Seq < us[i+1].Seq {
						t.Error("not newest first")
					}
				}
				if _, err := c.Trace(t.Context(), "pc1"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		e := j.put("Logs", fmt.Sprintf("live%d.log", i), uploads.Device{Domain: "D", Name: "pc1"})
		c.Observe(e)
		c.Seen(seen(e.Upload.Device, "a1", "192.0.2.7", e.At))
	}
	synced(t, c)
	close(stop)
	readers.Wait()
	if n := len(listed(t, c, UploadFilter{Limit: MaxLimit})); n != 5000 {
		t.Errorf("%d uploads, want 5000", n)
	}
}

func TestCatalogueForgetsBeyondTheHorizon(t *testing.T) {
	j := newJournal()
	old := j.put("Logs", "old.log", pc1)
	stuck := j.put("Logs", "stuck.log", pc1)
	lost := j.put("Logs", "lost.log", pc1)
	j.deliver(old, "disk", true)
	j.lose(lost, spool.LossAge)
	j.at = j.at.Add(80 * 24 * time.Hour)
	recent := j.put("Logs", "recent.log", pc1)
	j.deliver(recent, "disk", true)
	c := filled(t, j)
	if err := c.prune(t.Context(), j.at.Add(20*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"recent.log", "stuck.log"}, namesOf(listed(t, c, UploadFilter{}))); d != "" {
		t.Error(d)
	}
	if l, err := c.Losses(t.Context(), LossFilter{}); err != nil || len(l) != 0 {
		t.Errorf("losses: %+v, %v", l, err)
	}
	var n int
	if err := c.store.r.QueryRow(`SELECT count(*) FROM deliveries`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d deliveries, %v", n, err)
	}
	_ = stuck
}
