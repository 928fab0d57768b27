package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/relay"
)

func failBad(u uploads.Upload) error {
	time.Sleep(10 * time.Millisecond)
	if strings.HasPrefix(u.Device.Name, "BAD") {
		return errDown
	}
	return nil
}

// addMixed queues files of devices of which some are bad, and returns how many are
// not.
func addMixed(t *testing.T, q *queue, files, bad, of int, kinds []string) (good int) {
	for i := range files {
		name := fmt.Sprintf("PC%d", i%of)
		if i%of < bad {
			name = fmt.Sprintf("BAD%d", i%of)
		} else {
			good++
		}
		q.add(t, name, kinds[i/of%len(kinds)], i)
	}
	return good
}

// longestFailure is how many tries in a row failed, at most, between two that
// passed.
func (s *sink) longestFailure() (longest int) {
	n, any := 0, false
	for _, try := range s.tries {
		switch {
		case !try.ok:
			n++
		case any:
			longest, n = max(longest, n), 0
		default:
			any, n = true, 0
		}
	}
	return longest
}

// When such a destination is down altogether, it is asked once a backoff, although
// some lines passed just before. After it the good files go on, and bad ones are
// deferred.
func TestRelayTellsAnOutageFromDevicesThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: failBad}
		good := addMixed(t, q, 6000, 10, 50, []string{"Logs"})
		run(t, q, s, relay.Options{Workers: 1}, 75*time.Second, func(r *relay.Relay) {
			s.set(func(uploads.Upload) error { return errDown })
			before := s.attempts()
			if left := q.left(); left < 2000 || left > 5800 {
				t.Fatalf("%d left when the outage began", left)
			}
			time.Sleep(10 * certain.Max)
			if n := s.attempts() - before; n < 10 || n > 15 {
				t.Errorf("%d tries in an outage of %v", n, 10*certain.Max)
			}
			s.set(failBad)
			time.Sleep(2 * time.Minute)
			if left := q.left() - (6000 - good); left != 0 || r.Status().Deferred == 0 {
				t.Errorf("%d good files left, %d bad ones deferred", left, r.Status().Deferred)
			}
		})
	})
}

// A destination that always fails the files of some devices takes those of all
// others meanwhile, whichever came first, and that of one that comes when only bad
// ones are left.
func TestRelayDeliversDespiteDevicesThatAlwaysFail(t *testing.T) {
	const files = 3000
	for _, c := range []struct {
		bad, of, workers int
		kinds            []string
	}{
		{1, 2, 1, []string{"Logs"}},
		{10, 50, 1, []string{"Logs"}},
		{10, 50, 8, []string{"Logs"}},
		{49, 50, 1, []string{"Logs"}},
		{49, 50, 8, []string{"Inventories", "Logs"}},
	} {
		t.Run(fmt.Sprintf("%d of %d, %d workers", c.bad, c.of, c.workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), &sink{do: failBad}
				good := addMixed(t, q, files, c.bad, c.of, c.kinds)
				// At first, an outage looks the same: one probe for each bad device.
				patience := time.Duration(c.bad)*certain.Max + time.Minute
				run(t, q, s, relay.Options{Workers: c.workers}, patience, func(*relay.Relay) {
					if left := q.left() - (files - good); left != 0 {
						t.Errorf("%d of %d good files wait after %v", left, good, patience)
					}
					if n := s.longestFailure(); n > 2*c.workers {
						t.Errorf("%d failures between two good files", n)
					}
					q.add(t, "PC_NEW", "Logs", 1)
					time.Sleep(3 * certain.Max)
				})
				if s.firstOf("PC_NEW", "Logs") < 0 {
					t.Error("a new device's file was not tried soon")
				}
			})
		})
	}
}
