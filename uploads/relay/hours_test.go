package relay_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/hours"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/uploadstest"
)

// Outside the hours nothing starts, what is on its way is finished, and the
// status says when it goes on.
func TestRelayKeepsHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, err := hours.Parse([]string{"00:00-00:10", "06:00-07:00"}, time.UTC) // the bubble's clock begins at midnight
		if err != nil {
			t.Fatal(err)
		}
		q, s := newQueue(), &sink{do: func(uploads.Upload) error { time.Sleep(4 * time.Minute); return nil }}
		for i := range 10 {
			q.add(t, "PC1", "Logs", i)
		}
		run(t, q, s, relay.Options{Hours: open}, 30*time.Minute, func(r *relay.Relay) {
			if left := q.left(); left != 7 {
				t.Errorf("%d left, want the 7 that had not begun", left)
			}
			if until := r.Status().ClosedUntil; !until.Equal(s.start.Add(6 * time.Hour)) {
				t.Errorf("closed until %v", until)
			}
			time.Sleep(6 * time.Hour)
			if st := r.Status(); q.left() != 0 || !st.ClosedUntil.IsZero() {
				t.Errorf("%d left, closed until %v", q.left(), st.ClosedUntil)
			}
		})
		if at := s.times()[9]; at < 6*time.Hour {
			t.Errorf("the last one went after %v", at)
		}
	})
}

// reading is a sink that reads what it is given.
type reading struct{ *sink }

func (s reading) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	for _, p := range parcels {
		body, err := p.Open()
		if err == nil {
			_, err = io.Copy(io.Discard, struct{ io.Reader }{body})
			body.Close()
		}
		if err != nil {
			return []uploads.Delivery{{Err: err}}
		}
	}
	return s.sink.Deliver(ctx, parcels)
}

// heavy is a queue of files of 1 MiB.
type heavy struct{ *queue }

var million = bytes.Repeat([]byte("x"), 1<<20)

func (q heavy) Body(uint64) (uploads.Body, error) { return uploadstest.Body(million), nil }

// Ten files of 1 MiB at 256 KiB/s take some 40 s, by however many workers.
func TestRelayKeepsToItsBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(nil), start: time.Now()}
		for i := range 10 {
			q.add(t, "PC1", "Logs", i)
		}
		r := relay.New(relay.Options{Name: "centre", Queue: heavy{q}, Sink: reading{s}, Workers: 4, PerLine: 3, Bandwidth: 256 << 10})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel()
		<-done
		times := s.times()
		if q.left() != 0 || times[9] < 39*time.Second || times[9] > 41*time.Second {
			t.Errorf("%d left, at %v", q.left(), times)
		}
	})
}

// A relay that waits because its destination is down tries at once when the
// network changes, unless the destination itself asked to be left alone.
func TestRelayWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(errDown)}
		q.add(t, "PC1", "Logs", 1)
		run(t, q, s, relay.Options{}, 16*time.Second, func(r *relay.Relay) { // the next try is after 23 s
			s.set(always(&uploads.RetryError{After: time.Hour, Err: errDown}))
			r.Wake()
			synctest.Wait()
			r.Wake()
			synctest.Wait()
		})
		same(t, "attempts at", s.times(), seconds(0, 1, 3, 7, 15, 16))
	})
}

// A person's word lets what failed by itself, or was set aside, go again at once,
// and a relay that a loop stopped goes on.
func TestRelayPardons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{}
		s.do = func(u uploads.Upload) error {
			switch u.Device.Name {
			case "ASIDE":
				return uploads.ErrRefused
			case "BAD":
				return errDown
			}
			return nil
		}
		aside, bad := q.add(t, "ASIDE", "Logs", 1), q.add(t, "BAD", "Logs", 1)
		go func() {
			for i := range 60 {
				time.Sleep(time.Second)
				q.add(t, "PC1", "Logs", i)
			}
		}()
		run(t, q, s, relay.Options{}, 10*time.Minute, func(r *relay.Relay) {
			same(t, "troubled", sorted(r.Troubled()), []uint64{aside, bad})
			s.set(always(nil))
			if n := r.Pardon(func(seq uint64) bool { return seq == aside }); n != 1 {
				t.Errorf("pardoned %d", n)
			}
			synctest.Wait()
			if left := q.left(); left != 1 {
				t.Errorf("%d left, want the one that nobody named", left)
			}
			if n := r.Pardon(func(uint64) bool { return true }); n != 1 {
				t.Errorf("pardoned %d", n)
			}
			synctest.Wait()
			if st := r.Status(); q.left() != 0 || st.Deferred != 0 || st.SetAside != 0 || st.Waiting != 0 {
				t.Errorf("%d left, %+v", q.left(), st)
			}
		})
	})
}

func TestRelayGoesOnAfterALoopWhenToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(uploads.ErrLoop)}
		q.add(t, "PC1", "Logs", 1)
		run(t, q, s, relay.Options{}, time.Hour, func(r *relay.Relay) {
			s.set(always(nil))
			time.Sleep(time.Hour)
			if !r.Status().Stopped || q.left() != 1 {
				t.Errorf("%+v", r.Status())
			}
			r.Pardon(func(uint64) bool { return true })
			synctest.Wait()
			if r.Status().Stopped || q.left() != 0 {
				t.Errorf("%+v", r.Status())
			}
		})
	})
}
