package relay_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

var errDown = errors.New("down")

func seconds(n ...int) (out []time.Duration) {
	for _, s := range n {
		out = append(out, time.Duration(s)*time.Second)
	}
	return out
}

func always(err error) func(uploads.Upload) error {
	return func(uploads.Upload) error { return err }
}

func TestRelayDeliversAndMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(nil)}
		q.add(t, "PC1", "Logs", 1)
		r := run(t, q, s, relay.Options{}, time.Second, func(*relay.Relay) {
			q.add(t, "PC2", "Logs", 1) // while it waits
		})
		same(t, "order", s.order(true), []uint64{1, 2})
		if q.left() != 0 || len(q.marks) != 2 || len(q.marks[0][0].Custody) != 1 {
			t.Errorf("%d left, marks %+v", q.left(), q.marks)
		}
		if st := r.Status(); st.Delivered != 2 || st.Waiting != 0 || st.LastDelivered.IsZero() || st.LastError != "" {
			t.Errorf("status %+v", st)
		}
	})
}

// A week's outage: attempts never end, are never further apart than Max, and
// the file goes out then.
func TestRelayTriesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outage = 7 * 24 * time.Hour
		start := time.Now()
		q, s := newQueue(), &sink{do: func(uploads.Upload) error {
			if time.Since(start) < outage {
				return errDown
			}
			return nil
		}}
		q.add(t, "PC1", "Logs", 1)
		run(t, q, s, relay.Options{Backoff: backoff.Backoff{Min: time.Second, Max: 4 * time.Minute}}, outage+4*time.Minute)
		times := s.times()
		for i := 1; i < len(times); i++ {
			if gap := times[i] - times[i-1]; gap > 4*time.Minute {
				t.Fatalf("attempt %d came %v after the one before", i, gap)
			}
		}
		if q.left() != 0 || len(times) < 2500 || len(times) > 10_000 {
			t.Errorf("%d left after %d attempts", q.left(), len(times))
		}
	})
}

func TestRelayWaitsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(errDown)}
		q.add(t, "PC1", "Logs", 1)
		r := run(t, q, s, relay.Options{}, 24*time.Second)
		same(t, "attempts at", s.times(), seconds(0, 1, 3, 7, 15, 23))
		st := r.Status()
		if st.FailuresInARow != 6 || st.LastError != "down" || !st.NextAttempt.Equal(s.start.Add(31*time.Second)) || st.Waiting != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

// While a destination is down it is tried with one file at a time, each time of
// another device, however many workers there are.
func TestRelayProbesWithOtherDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(uploads.Upload) error { time.Sleep(time.Millisecond); return errDown }}
		q.add(t, "PC0", "Inventories", 1)
		time.AfterFunc(time.Second/2, func() { // the destination is known to be down by now
			for i := range 9 {
				q.add(t, fmt.Sprintf("PC%d", i/3), []string{"Inventories", "Logs", "UsageData"}[i%3], 2)
			}
		})
		run(t, q, s, relay.Options{Workers: 4}, 30*time.Second)
		var devices []string
		for _, try := range s.tries {
			devices = append(devices, try.u.Device.Name)
		}
		same(t, "devices tried", devices[:6], []string{"PC0", "PC1", "PC2", "PC0", "PC1", "PC2"})
		if s.most != 1 {
			t.Errorf("%d attempts at a time", s.most)
		}
	})
}

// The first failure may be the file's own: another is tried at once.
func TestRelayTriesAnotherFileAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(u uploads.Upload) error {
			if u.Seq == 1 {
				return errDown
			}
			return nil
		}}
		q.add(t, "PC1", "Logs", 1)
		q.add(t, "PC1", "Inventories", 1)
		q.add(t, "PC2", "Logs", 1)
		run(t, q, s, relay.Options{}, time.Second/2)
		same(t, "order", s.order(false), []uint64{1, 3, 2})
		same(t, "at", s.times(), seconds(0, 0, 0))
	})
}

func TestRelayCountsSimultaneousFailuresOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(uploads.Upload) error { time.Sleep(100 * time.Millisecond); return errDown }}
		for i := range 8 {
			q.add(t, fmt.Sprintf("PC%d", i), "Logs", 1)
		}
		r := run(t, q, s, relay.Options{Workers: 8}, 150*time.Millisecond)
		if s.most != 8 {
			t.Errorf("%d deliveries at a time, want 8", s.most)
		}
		if st := r.Status(); st.FailuresInARow > 2 {
			t.Errorf("%d failures in a row after one round", st.FailuresInARow)
		}
	})
}

func TestRelayHonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{}
		s.do = func(u uploads.Upload) error {
			if len(s.tries) < 2 {
				return &uploads.RetryError{After: time.Hour, Err: errDown}
			}
			return nil
		}
		q.add(t, "PC1", "Logs", 1)
		q.add(t, "PC2", "Logs", 1)
		run(t, q, s, relay.Options{}, 3*time.Hour)
		same(t, "attempts at", s.times(), seconds(0, 3600, 7200, 7200))
	})
}

// A wish to be left alone stands, also if something that was on its way passes.
func TestRelayHonoursRetryAfterDespiteSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{}
		s.do = func(u uploads.Upload) error {
			switch u.Seq {
			case 1:
				if time.Since(s.start) < time.Minute {
					return &uploads.RetryError{After: time.Hour, Err: errDown}
				}
			case 2:
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		for i := range 4 {
			q.add(t, fmt.Sprintf("PC%d", i), "Logs", 1)
		}
		run(t, q, s, relay.Options{Workers: 2}, 2*time.Hour)
		for i, at := range s.times()[2:] {
			if at < time.Hour {
				t.Errorf("attempt %d after %v", i+2, at)
			}
		}
		if q.left() != 0 {
			t.Errorf("%d left", q.left())
		}
	})
}

// One bad file: others pass without a pause, it moves behind the rest of its line after
// five failures of its own, and goes out once it can.
func TestRelayDefersFileThatFailsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{}
		s.do = func(u uploads.Upload) error {
			if u.Seq == 1 {
				return errDown
			}
			return nil
		}
		q.add(t, "PC1", "Logs", 1) // the bad one
		q.add(t, "PC2", "Logs", 0)
		for i := range 3 {
			q.add(t, "PC1", "Logs", 2+i)
		}
		go func() { // others come all the time, right before a retry is due
			time.Sleep(999 * time.Millisecond)
			for i := range 600 {
				q.add(t, "PC2", "Logs", i)
				time.Sleep(time.Second)
			}
		}()
		r := run(t, q, s, relay.Options{}, 20*time.Minute, func(r *relay.Relay) {
			st := r.Status()
			if st.Deferred != 1 || st.Waiting != 1 || len(st.Trouble) != 1 || st.Trouble[0].State != "deferred" || st.Trouble[0].Failures < 5 {
				t.Errorf("status %+v", st)
			}
			s.set(always(nil))
			time.Sleep(time.Minute)
		})
		failures := 0
		for _, try := range s.tries {
			if try.u.Device.Name == "PC1" && try.u.Seq != 1 { // the next in its line
				break
			}
			if try.u.Seq == 1 {
				failures++
			}
		}
		if failures != 5 {
			t.Errorf("the file failed %d times before its line went on, want 5", failures)
		}
		if st := r.Status(); q.left() != 0 || st.Deferred != 0 || st.Waiting != 0 {
			t.Errorf("%d left, status %+v", q.left(), st)
		}
		for i, try := range s.tries[1:] {
			if try.u.Device.Name == "PC2" && i > 0 && (try.at+time.Millisecond)%time.Second > 100*time.Millisecond {
				t.Fatalf("a file of another device waited until %v", try.at)
			}
		}
	})
}

// An outage is nobody's fault but the destination's: no file is deferred for it.
func TestRelayDefersNothingForOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(uploads.Upload) error { return errDown }}
		for i := range 5 {
			q.add(t, fmt.Sprintf("PC%d", i), "Logs", 1)
		}
		run(t, q, s, relay.Options{}, time.Hour, func(r *relay.Relay) {
			if st := r.Status(); st.Deferred != 0 || st.Waiting != 5 {
				t.Errorf("status %+v", st)
			}
		})
		if len(s.tries) < 400 {
			t.Errorf("only %d attempts", len(s.tries))
		}
	})
}

// A slow device does not hold up another, nor a slow kind another kind.
func TestRelayGoesAroundSlowLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(u uploads.Upload) error {
			if u.Device.Name == "SLOW" && u.Kind == "Logs" {
				time.Sleep(time.Hour)
			}
			return nil
		}}
		for i := range 100 {
			q.add(t, "SLOW", "Logs", i)
		}
		for i := range 100 {
			q.add(t, "QUICK", "Logs", i)
			q.add(t, "SLOW", "Inventories", i)
		}
		run(t, q, s, relay.Options{Workers: 2}, 90*time.Minute, func(*relay.Relay) {
			if left := q.left(); left != 99 {
				t.Errorf("%d left, want 99 of the slow device's logs", left)
			}
		})
		if s.most > 2 {
			t.Errorf("%d deliveries at a time", s.most)
		}
	})
}

func TestRelayQuarantinesWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(u uploads.Upload) error {
			if u.Device.Name == "BAD" {
				return fmt.Errorf("%w: smells", uploads.ErrRefused)
			}
			return nil
		}}
		k := &keeper{}
		q.add(t, "BAD", "Logs", 1)
		q.add(t, "PC1", "Logs", 1)
		k.fail = 2 // the file must not leave the queue before it is kept
		r := run(t, q, s, relay.Options{Quarantine: k}, time.Minute)
		same(t, "kept", k.kept, []string{"BAD: refused by destination: smells"})
		same(t, "lost", q.lost, []string{"1 refused centre: refused by destination: smells"})
		if st := r.Status(); st.Quarantined != 1 || st.Delivered != 1 || st.Waiting != 0 || q.left() != 0 {
			t.Errorf("status %+v, %d left", st, q.left())
		}
	})
}

// A keeper is a quarantine that fails a few times first.
type keeper struct {
	fail int
	kept []string
}

func (k *keeper) Keep(u uploads.Upload, _ uploads.Body, _, reason string) error {
	if k.fail > 0 {
		k.fail--
		return errors.New("disk on fire")
	}
	k.kept = append(k.kept, u.Device.Name+": "+reason)
	return nil
}

// Without a quarantine, refused files stay, are offered once a day and when
// something changed, and do not hold up their line.
func TestRelaySetsAsideAndOffersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(u uploads.Upload) error {
			if u.Seq == 1 {
				return uploads.ErrRefused
			}
			return nil
		}}
		q.add(t, "PC1", "Logs", 1)
		q.add(t, "PC1", "Logs", 2)
		run(t, q, s, relay.Options{}, 50*time.Hour, func(r *relay.Relay) {
			st := r.Status()
			if st.SetAside != 1 || st.Waiting != 0 || st.Trouble[0].State != "set aside" || !strings.Contains(st.Trouble[0].Reason, "refused") {
				t.Errorf("status %+v", st)
			}
			r.Reoffer()
			synctest.Wait()
			s.set(always(nil))
			r.Reoffer()
		})
		same(t, "tries of", s.order(false), []uint64{1, 2, 1, 1, 1, 1})
		day := 24 * time.Hour
		same(t, "at", s.times(), []time.Duration{0, 0, day, 2 * day, 50 * time.Hour, 50 * time.Hour})
		if q.left() != 0 || len(q.lost) != 0 {
			t.Errorf("%d left, lost %v", q.left(), q.lost)
		}
	})
}

func TestRelayStopsAtLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(fmt.Errorf("%w: 508", uploads.ErrLoop))}
		q.add(t, "PC1", "Logs", 1)
		q.add(t, "PC2", "Logs", 1)
		r := run(t, q, s, relay.Options{}, 100*time.Hour, func(*relay.Relay) { q.add(t, "PC3", "Logs", 1) })
		if st := r.Status(); !st.Stopped || st.Waiting != 3 || !strings.Contains(st.LastError, "loop") {
			t.Errorf("status %+v", st)
		}
		if len(s.tries) != 1 || q.left() != 3 {
			t.Errorf("%d attempts, %d left", len(s.tries), q.left())
		}
	})
}

// Anybody who can send can write beacons into a file's way. That file is set
// aside, and the others go on.
func TestRelayGoesOnWhereARelayedFileLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(u uploads.Upload) error {
			if len(u.Via) > 0 {
				return fmt.Errorf("%w: 508", uploads.ErrLoop)
			}
			return nil
		}}
		seq := q.add(t, "PC1", "Logs", 1)
		q.held[0].Via = []string{"somebody"}
		q.add(t, "PC2", "Logs", 1)
		r := run(t, q, s, relay.Options{Quarantine: &keeper{}}, time.Hour, func(*relay.Relay) { q.add(t, "PC3", "Logs", 1) })
		st := r.Status()
		if st.Stopped || st.SetAside != 1 || len(st.Trouble) != 1 || st.Trouble[0].Seq != seq {
			t.Errorf("status %+v", st)
		}
		if q.left() != 1 || len(q.lost) != 0 {
			t.Errorf("%d left, lost %v", q.left(), q.lost)
		}
	})
}

// A file that another way out of the queue took leaves no failure behind.
func TestRelayForgetsAFailureWhenNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(errors.New("down"))}
		seq := q.add(t, "PC1", "Logs", 1)
		run(t, q, s, relay.Options{}, 24*time.Hour, func(r *relay.Relay) {
			if st := r.Status(); st.FailuresInARow == 0 || st.LastError == "" || st.NextAttempt.IsZero() {
				t.Errorf("while it waits: %+v", st)
			}
			if err := q.Lose(seq, spool.LossOperator, ""); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if st := r.Status(); st.Waiting != 0 || st.FailuresInARow != 0 || st.LastError != "" || !st.NextAttempt.IsZero() {
				t.Errorf("when it is gone: %+v", st)
			}
		})
	})
}

// Bytes that are not the announced ones may have been spoilt on the way: they
// are sent once more before the file counts as refused.
func TestRelaySendsWrongBytesOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(u uploads.Upload) error {
			if u.Device.Name == "ROT" {
				return uploads.ErrDigest
			}
			return nil
		}}
		once := false
		k := &keeper{}
		q.add(t, "ROT", "Logs", 1)
		q.add(t, "PC1", "Logs", 1)
		run(t, q, s, relay.Options{Quarantine: k}, time.Minute, func(*relay.Relay) {
			s.set(func(uploads.Upload) error {
				if once {
					return nil
				}
				once = true
				return uploads.ErrDigest
			})
			q.add(t, "LINE", "Logs", 1)
			time.Sleep(time.Minute)
		})
		same(t, "kept", k.kept, []string{"ROT: digest mismatch"})
		tries := map[string]int{}
		for _, try := range s.tries {
			tries[try.u.Device.Name]++
		}
		if tries["ROT"] != 2 || tries["LINE"] != 2 || q.left() != 0 {
			t.Errorf("tries %v, %d left", tries, q.left())
		}
	})
}

// What leaves the queue by another way while it waits is forgotten.
func TestRelayForgetsWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(errDown)}
		q.add(t, "PC1", "Logs", 1)
		q.add(t, "PC1", "Logs", 2)
		r := run(t, q, s, relay.Options{}, time.Minute, func(*relay.Relay) {
			q.Lose(1, "age", "")
			s.set(func(u uploads.Upload) error {
				if u.Seq == 2 {
					q.Lose(2, "quota", "") // under the sink's hands
					return uploads.ErrUnknown
				}
				return nil
			})
			time.Sleep(time.Minute)
		})
		if st := r.Status(); st.Waiting != 0 || st.Delivered != 0 || st.InFlight != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

// Marks that cannot be written keep the files from counting, not from going.
func TestRelayMarksAgainWhenTheJournalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(nil)}
		q.failMarks = 3
		q.add(t, "PC1", "Logs", 1)
		r := run(t, q, s, relay.Options{}, time.Second/2, func(r *relay.Relay) {
			if st := r.Status(); st.Delivered != 0 {
				t.Errorf("counts as delivered without a mark: %+v", st)
			}
			q.add(t, "PC2", "Logs", 1)
			time.Sleep(time.Minute)
		})
		if st := r.Status(); st.Delivered != 2 || q.left() != 0 || len(s.tries) != 2 {
			t.Errorf("status %+v, %d left, %d attempts", st, q.left(), len(s.tries))
		}
	})
}

// While one sync runs, the deliveries that go on share the next one.
func TestRelayMarksTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(uploads.Upload) error { time.Sleep(time.Millisecond); return nil }}
		q.syncing = 100 * time.Millisecond
		for i := range 200 {
			q.add(t, fmt.Sprintf("PC%d", i), "Logs", 1)
		}
		run(t, q, s, relay.Options{}, time.Second)
		if q.left() != 0 || len(q.marks) > 4 {
			t.Errorf("%d left, %d syncs of marks for 200 files", q.left(), len(q.marks))
		}
	})
}

func TestRelayHandsOverGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		groups := map[time.Duration]int{}
		q, s := newQueue(), &sink{group: 10}
		s.do = func(u uploads.Upload) error {
			groups[time.Since(s.start)]++
			if u.Device.Name == "PC3" && time.Since(s.start) == 0 {
				return errDown // in the midst of others that pass
			}
			return nil
		}
		for i := range 25 {
			q.add(t, fmt.Sprintf("PC%d", i), "Logs", 1)
		}
		r := run(t, q, s, relay.Options{}, time.Minute, func(r *relay.Relay) {
			if st := r.Status(); st.FailuresInARow != 0 {
				t.Errorf("status %+v", st)
			}
		})
		if q.left() != 0 || r.Status().Delivered != 25 || len(s.tries) != 26 {
			t.Errorf("%d left, %d tries", q.left(), len(s.tries))
		}
		if !slices.Equal(s.order(false)[:10], []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
			t.Errorf("order %v", s.order(false))
		}
	})
}
