package relay_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/relay"
)

var held = &uploads.HeldError{Custody: []uploads.Custody{{Level: uploads.LevelBeacon, Beacon: "b1"}}}

// What a destination holds, but not high enough, is asked about further and
// further apart. It is no failure, and no other file waits for it.
func TestRelayKeepsWhatIsHeldTooLow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(u uploads.Upload) error {
			if u.Seq == 1 {
				return held
			}
			return nil
		}}
		q.add(t, "PC1", "Logs", 1)
		q.add(t, "PC1", "Logs", 2) // of the same line
		run(t, q, s, relay.Options{}, 10*time.Minute, func(r *relay.Relay) {
			st := r.Status()
			if st.Held != 1 || st.Waiting != 0 || st.Delivered != 1 || st.Failures != 0 || st.FailuresInARow != 0 || len(st.Trouble) != 0 || st.NextQuestion.IsZero() {
				t.Errorf("status %+v", st)
			}
			s.set(always(nil))
			time.Sleep(time.Hour)
		})
		m := time.Minute
		same(t, "order", s.order(false), []uint64{1, 2, 1, 1, 1, 1})
		same(t, "at", s.times(), []time.Duration{0, 0, m, 3 * m, 7 * m, 15 * m})
		if q.left() != 0 {
			t.Errorf("%d left", q.left())
		}
	})
}

// However many files are held, few questions are asked at a time, and each file
// gets its turn.
func TestRelayAsksAFewTimesASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(held)}
		const files = 120
		for i := range files {
			q.add(t, fmt.Sprintf("PC%d", i), "Logs", 1)
		}
		run(t, q, s, relay.Options{}, 46*time.Minute+time.Second)
		asked, questions := map[uint64]bool{}, map[time.Duration]int{}
		for _, try := range s.tries[files:] {
			asked[try.u.Seq] = true
			questions[(try.at-time.Minute)/(15*time.Minute)]++
		}
		if len(asked) != files {
			t.Errorf("%d files were asked about, want all %d", len(asked), files)
		}
		for session, n := range questions {
			if n > 50 {
				t.Errorf("session %d: %d questions", session, n)
			}
		}
	})
}

// While the destination fails, nobody asks it about what it holds; when it is
// back, the questions go on.
func TestRelayDoesNotAskWhatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(held)}
		q.add(t, "PC1", "Logs", 1)
		run(t, q, s, relay.Options{}, time.Second, func(r *relay.Relay) {
			s.set(always(errDown))
			q.add(t, "PC2", "Logs", 1)
			time.Sleep(time.Hour)
			synctest.Wait()
			for _, try := range s.tries[1:] {
				if try.u.Seq == 1 {
					t.Errorf("asked after %v", try.at)
				}
			}
			s.set(always(nil))
			time.Sleep(time.Minute)
		})
		if q.left() != 0 {
			t.Errorf("%d left", q.left())
		}
	})
}

// A question that fails is a failure like any other; the file comes again.
func TestRelayGoesOnAfterAFailedQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(held)}
		q.add(t, "PC1", "Logs", 1)
		run(t, q, s, relay.Options{}, time.Second, func(r *relay.Relay) {
			s.set(always(errDown))
			time.Sleep(2 * time.Minute)
			if st := r.Status(); st.FailuresInARow == 0 || st.Held != 0 || st.Waiting != 1 {
				t.Errorf("while it is down: %+v", st)
			}
			s.set(always(held))
			time.Sleep(time.Minute)
			if st := r.Status(); st.FailuresInARow != 0 || st.Held != 1 || st.Waiting != 0 {
				t.Errorf("when it is back: %+v", st)
			}
			s.set(always(nil))
			time.Sleep(time.Hour)
		})
		if q.left() != 0 {
			t.Errorf("%d left", q.left())
		}
	})
}

// What leaves the queue by another way while it is held is forgotten.
func TestRelayForgetsWhatWasHeldAndIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: always(held)}
		seq := q.add(t, "PC1", "Logs", 1)
		r := run(t, q, s, relay.Options{}, time.Second, func(*relay.Relay) {
			if err := q.Lose(seq, "operator", ""); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Hour)
		})
		if st := r.Status(); st.Held != 0 || st.Waiting != 0 || len(s.tries) != 1 {
			t.Errorf("status %+v after %d tries", st, len(s.tries))
		}
	})
}
