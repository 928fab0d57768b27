package inquiry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
	"inventorybeacon/uploads/custody/inquiry"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/uploadstest"
)

// A book is a ledger in memory that knows every file.
type book struct {
	mu     sync.Mutex
	learnt map[string][]uploads.Custody
}

func (b *book) FindExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Receipt, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := uploads.Upload{Kind: kind, Name: name, Digest: d}.Receipt()
	r.Custody = append(r.Custody, b.learnt[name.String()]...)
	return r, true
}

func (b *book) Learn(kind string, name uploads.Name, d uploads.Digest, c []uploads.Custody) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learnt[name.String()] = append(b.learnt[name.String()], c...)
	return nil
}

// A hub answers what its function says and counts how often it was asked.
type hub struct {
	mu    sync.Mutex
	tell  func(name string) ([]uploads.Custody, error)
	asked map[string][]time.Duration
	start time.Time
}

func (h *hub) Reached(_ context.Context, u uploads.Upload) ([]uploads.Custody, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked[u.Name.String()] = append(h.asked[u.Name.String()], time.Since(h.start))
	return h.tell(u.Name.String())
}

func (h *hub) set(tell func(string) ([]uploads.Custody, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell = tell
}

var (
	parent = []uploads.Custody{{Level: uploads.LevelParent, Beacon: "hub"}}
	store  = append(parent, uploads.Custody{Level: uploads.LevelStore, Beacon: "hub"})
)

func always(c []uploads.Custody, err error) func(string) ([]uploads.Custody, error) {
	return func(string) ([]uploads.Custody, error) { return c, err }
}

// in runs f in a bubble with an asker that works.
func in(t *testing.T, o inquiry.Options, f func(*testing.T, *inquiry.Asker, *hub, *book)) {
	synctest.Test(t, func(t *testing.T) {
		h, b := &hub{tell: always(parent, nil), asked: map[string][]time.Duration{}, start: time.Now()}, &book{learnt: map[string][]uploads.Custody{}}
		o.Sink, o.Teller, o.Ledger = "hub", h, b
		a := inquiry.New(o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		f(t, a, h, b)
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func delivered(t *testing.T, name string, c []uploads.Custody) spool.Event {
	t.Helper()
	return spool.Event{What: spool.Delivered, Sink: "hub", Custody: c, Upload: uploadstest.Upload(t, "Logs", name, []byte(name))}
}

func TestAskerAsksUntilTheStoreHasIt(t *testing.T) {
	in(t, inquiry.Options{}, func(t *testing.T, a *inquiry.Asker, h *hub, b *book) {
		a.Observe(delivered(t, "a.log", parent))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(h.asked["a.log"]); n != 3 { // after 10, 20 and 40 s
			t.Errorf("asked %v", h.asked)
		}
		if len(b.learnt["a.log"]) != 1 {
			t.Errorf("learnt %v", b.learnt)
		}
		h.set(always(store, nil))
		time.Sleep(time.Hour)
		synctest.Wait()
		s := a.Status()
		if len(h.asked["a.log"]) != 4 || len(b.learnt["a.log"]) != 2 || s.Waiting != 0 || s.Asked != 4 || s.Learnt != 2 || s.Failures != 0 {
			t.Errorf("asked %v, learnt %v, %+v", h.asked, b.learnt, s)
		}
	})
}

// What there is nothing more to hear of is not asked about.
func TestAskerAsksOnlyWhatItMust(t *testing.T) {
	in(t, inquiry.Options{}, func(t *testing.T, a *inquiry.Asker, h *hub, b *book) {
		other := delivered(t, "other.log", parent)
		other.Sink = "files"
		accepted := delivered(t, "new.log", parent)
		accepted.What = spool.Accepted
		for _, e := range []spool.Event{delivered(t, "done.log", store), delivered(t, "classic.log", []uploads.Custody{{Level: "unproven"}}), other, accepted} {
			a.Observe(e)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(h.asked) != 0 || a.Status().Waiting != 0 {
			t.Errorf("asked %v", h.asked)
		}
	})
}

func TestAskerAnswersWhoWaits(t *testing.T) {
	in(t, inquiry.Options{}, func(t *testing.T, a *inquiry.Asker, h *hub, b *book) {
		time.Sleep(time.Hour)
		h.set(always(store, nil))
		u := uploadstest.Upload(t, "Logs", "a.log", nil)
		a.Want(custody.File{Kind: u.Kind, Name: u.Name, Digest: u.Digest})
		synctest.Wait()
		if len(b.learnt["a.log"]) != 2 {
			t.Errorf("learnt %v at once", b.learnt)
		}
	})
}

// However many files there are, the parent gets ten questions a second, and none
// but an odd one while it is down.
func TestAskerSparesTheParent(t *testing.T) {
	in(t, inquiry.Options{}, func(t *testing.T, a *inquiry.Asker, h *hub, b *book) {
		for i := range 5000 {
			a.Observe(delivered(t, fmt.Sprintf("%d.log", i), parent))
		}
		time.Sleep(10*time.Second + time.Minute)
		synctest.Wait()
		if n := a.Status().Asked; n < 500 || n > 601 {
			t.Errorf("%d questions in a minute", n)
		}
		h.set(always(nil, errors.New("down")))
		before := a.Status()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := a.Status().Asked - before.Asked; n < 10 || n > 60 {
			t.Errorf("%d questions in an hour to who is down", n)
		}
		h.set(always(store, nil))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if s := a.Status(); s.Waiting != 0 || len(b.learnt) != 5000 {
			t.Errorf("in the end: %+v, learnt of %d", s, len(b.learnt))
		}
	})
}

// A parent that names a time is left alone until then.
func TestAskerComesBackWhenTold(t *testing.T) {
	in(t, inquiry.Options{}, func(t *testing.T, a *inquiry.Asker, h *hub, b *book) {
		h.set(always(nil, &uploads.RetryError{After: time.Hour, Err: errors.New("busy")}))
		a.Observe(delivered(t, "a.log", parent))
		a.Observe(delivered(t, "b.log", parent))
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if n := a.Status().Asked; n != 1 {
			t.Errorf("%d questions", n)
		}
	})
}

// A file that the parent knows nothing of is no failure: it may come again.
func TestAskerGoesOnAfterAnUnknownFile(t *testing.T) {
	in(t, inquiry.Options{}, func(t *testing.T, a *inquiry.Asker, h *hub, b *book) {
		h.set(func(name string) ([]uploads.Custody, error) {
			if name == "gone.log" {
				return nil, fmt.Errorf("%w: 404", uploads.ErrUnknown)
			}
			return store, nil
		})
		a.Observe(delivered(t, "gone.log", parent))
		a.Observe(delivered(t, "a.log", parent))
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := a.Status(); s.Failures != 0 || s.Waiting != 1 || len(b.learnt) != 1 {
			t.Errorf("%+v, learnt %v", s, b.learnt)
		}
	})
}

func TestAskerRemembersWhatWasDeliveredBefore(t *testing.T) {
	u := uploadstest.Upload(t, "Logs", "old.log", nil)
	recent := func(context.Context, int) ([]custody.File, error) {
		return []custody.File{{Kind: u.Kind, Name: u.Name, Digest: u.Digest}}, nil
	}
	in(t, inquiry.Options{Recent: recent}, func(t *testing.T, a *inquiry.Asker, h *hub, b *book) {
		h.set(always(store, nil))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(b.learnt["old.log"]) != 2 {
			t.Errorf("learnt %v", b.learnt)
		}
	})
}
