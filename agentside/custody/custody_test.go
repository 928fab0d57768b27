package custody_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/agentside/custody"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/uploadstest"
)

const self = "agent:1"

// beacons are whom an agent speaks to, in memory.
type beacons struct {
	bodies, questions int
	took              []uploads.Custody // the answer to a PUT
	told              []uploads.Custody // the answer to a GET
	err               error             // of a GET
}

func (b *beacons) Group() int { return 1 }

func (b *beacons) Deliver(_ context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	b.bodies++
	return []uploads.Delivery{{Custody: b.took}}
}

func (b *beacons) Reached(context.Context, uploads.Upload) ([]uploads.Custody, error) {
	b.questions++
	return b.told, b.err
}

var (
	atBeacon = []uploads.Custody{{Level: uploads.LevelBeacon, Beacon: "b1"}}
	atParent = append(slices.Clone(atBeacon), uploads.Custody{Level: uploads.LevelParent, Beacon: "hub"})
	atStore  = append(slices.Clone(atParent), uploads.Custody{Level: uploads.LevelStore, Beacon: "hub"})
)

// An agent is a keeper over a real spool.
type agent struct {
	*custody.Keeper
	spool *spool.Spool
	b     *beacons
}

func start(t *testing.T, dir string, b *beacons) *agent {
	t.Helper()
	a := &agent{b: b}
	var err error
	a.spool, err = spool.Open(filepath.Join(dir, "spool"), spool.Options{
		SegmentBytes: 1 << 20, Spares: -1, Beacon: self, Sinks: []spool.SinkName{{Name: "beacon", Required: true}},
		MaxBytes: 1000, GiveUp: func(uploads.Upload, bool) int { return 0 },
		Observe: func(e spool.Event) { a.Observe(e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Keeper = custody.New(custody.Options{Sink: b, Teller: b, Spool: a.spool, Name: "beacon", Self: self})
	t.Cleanup(func() { a.close(t) })
	return a
}

func (a *agent) close(t *testing.T) {
	t.Helper()
	if err := a.spool.Close(); err != nil {
		t.Error(err)
	}
}

func (a *agent) require(t *testing.T, level string) {
	t.Helper()
	if err := a.Require(level); err != nil {
		t.Fatal(err)
	}
}

// put leaves a file of so many bytes in the outbox.
func (a *agent) put(t *testing.T, n int, size int) uploads.Receipt {
	t.Helper()
	name, err := uploads.ParseName(fmt.Sprintf("PC1 at 20261122T0930%02d.log", n))
	if err != nil {
		t.Fatal(err)
	}
	room := custody.Room{Spool: a.spool, Keeper: a.Keeper, MaxBytes: 1000}
	r, err := room.Accept(t.Context(), spool.Draft{Kind: "Logs", Name: name, Length: int64(size)}, uploadstest.Body(uploadstest.Noise(size, byte(n))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// offer is a relay's pass over all that is pending; it returns what each file's
// answer was: "held", "delivered" with the level, or the error.
func (a *agent) offer(t *testing.T) (out []string) {
	t.Helper()
	for _, u := range a.spool.Pending("beacon", 0, 1000) {
		d := a.Deliver(t.Context(), []uploads.Parcel{{Upload: u}})[0]
		var held *uploads.HeldError
		switch {
		case errors.As(d.Err, &held):
			out = append(out, held.Error())
		case d.Err != nil:
			out = append(out, d.Err.Error())
		default:
			out = append(out, "delivered to "+d.Custody[len(d.Custody)-1].Level)
			if err := a.spool.Deliver("beacon", []spool.Mark{{Seq: u.Seq, Custody: d.Custody}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func (a *agent) want(t *testing.T, offered []string, want ...string) {
	t.Helper()
	if !slices.Equal(offered, want) {
		t.Errorf("offered: %q, want %q", offered, want)
	}
}

func (a *agent) wantAsked(t *testing.T, bodies, questions int) {
	t.Helper()
	if a.b.bodies != bodies || a.b.questions != questions {
		t.Errorf("%d bodies and %d questions, want %d and %d", a.b.bodies, a.b.questions, bodies, questions)
	}
}

const (
	heldAtBeacon = "held by the destination, at level beacon"
	heldAtParent = "held by the destination, at level parent"
)

func TestKeeperForgetsWhatABeaconHas(t *testing.T) {
	a := start(t, t.TempDir(), &beacons{took: atBeacon})
	a.put(t, 1, 10)
	a.want(t, a.offer(t), "delivered to beacon")
	a.wantAsked(t, 1, 0)
	if st := a.Status(); st.Files != 0 || st.Sent != 1 || st.LastAck.IsZero() {
		t.Errorf("%+v", st)
	}
}

// One body, then questions, until the file is where it must be.
func TestKeeperAsksUntilTheStoreHasIt(t *testing.T) {
	a := start(t, t.TempDir(), &beacons{took: atBeacon, told: atBeacon})
	a.require(t, uploads.LevelStore)
	r := a.put(t, 1, 10)
	a.want(t, a.offer(t), heldAtBeacon)
	a.want(t, a.offer(t), heldAtBeacon)
	a.b.told = atParent
	a.want(t, a.offer(t), heldAtParent)
	if st := a.Status(); st.Files != 1 || st.Bytes != 10 || st.Level != "store" || st.Sent != 1 {
		t.Errorf("%+v", st)
	}
	a.b.told = atStore
	a.want(t, a.offer(t), "delivered to store")
	a.wantAsked(t, 1, 3)
	name, _ := uploads.ParseName(r.Name)
	if got, ok := a.spool.FindExact("Logs", name, r.SHA256); !ok || len(got.Custody) != 4 {
		t.Errorf("receipt %+v, %v", got, ok)
	}
	if st := a.Status(); st.Files != 0 {
		t.Errorf("%+v", st)
	}
}

// A beacon whose store took the file at once leaves nothing to ask.
func TestKeeperIsContentWithAStoreInPlaceOfAParent(t *testing.T) {
	a := start(t, t.TempDir(), &beacons{took: append(slices.Clone(atBeacon), uploads.Custody{Level: uploads.LevelStore, Beacon: "b1"})})
	a.require(t, uploads.LevelParent)
	a.put(t, 1, 10)
	a.want(t, a.offer(t), "delivered to store")
	a.wantAsked(t, 1, 0)
}

// Who proves nothing tells nothing later either.
func TestKeeperDoesNotWaitForWhoWillNeverTell(t *testing.T) {
	a := start(t, t.TempDir(), &beacons{took: []uploads.Custody{{Level: "unproven", Beacon: "old"}}})
	a.require(t, uploads.LevelStore)
	a.put(t, 1, 10)
	a.want(t, a.offer(t), "delivered to unproven")
}

// A process that begins anew asks and sends no body; a lower level lets go
// without a question.
func TestKeeperRemembersAcrossRestarts(t *testing.T) {
	dir, b := t.TempDir(), &beacons{took: atBeacon, told: atParent}
	for range 2 {
		a := start(t, dir, b)
		a.require(t, uploads.LevelStore)
		if a.spool.Stats().Pending == 0 {
			a.put(t, 1, 10)
			a.put(t, 2, 10)
			a.want(t, a.offer(t), heldAtBeacon, heldAtBeacon)
		} else {
			if st := a.Status(); st.Files != 2 || st.Sent != 0 {
				t.Errorf("after a restart %+v", st)
			}
			a.want(t, a.offer(t), heldAtParent, heldAtParent)
		}
		a.close(t)
	}
	a := start(t, dir, b)
	a.wantAsked(t, 2, 2)
	a.require(t, uploads.LevelParent)
	if n := a.spool.Stats().Pending; n != 0 {
		t.Errorf("%d pending", n)
	}
	a.wantAsked(t, 2, 2)
}

func TestKeeperLetsGoWhenThePolicyAsksForLess(t *testing.T) {
	a := start(t, t.TempDir(), &beacons{took: atBeacon})
	a.require(t, uploads.LevelStore)
	a.put(t, 1, 10)
	a.want(t, a.offer(t), heldAtBeacon)
	a.require(t, uploads.LevelParent)
	if n := a.spool.Stats().Pending; n != 1 {
		t.Errorf("%d pending, want it kept", n)
	}
	a.require(t, uploads.LevelBeacon)
	if st := a.spool.Stats(); st.Pending != 0 || st.Delivered != 1 || a.Status().Files != 0 {
		t.Errorf("%+v, %+v", st, a.Status())
	}
}

// Beacons that know nothing of a file may not be the one that has it. It is sent
// again after a while, and further and further apart.
func TestKeeperSendsAgainWhatNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, t.TempDir(), &beacons{took: atBeacon, err: fmt.Errorf("%w: 404", uploads.ErrUnknown)})
		a.require(t, uploads.LevelStore)
		a.put(t, 1, 10)
		var sent []time.Duration
		began, bodies := time.Now(), 0
		for time.Since(began) < 21*24*time.Hour {
			a.want(t, a.offer(t), heldAtBeacon)
			if a.b.bodies > bodies {
				bodies = a.b.bodies
				sent = append(sent, time.Since(began))
			}
			time.Sleep(time.Hour)
		}
		h := time.Hour
		if !slices.Equal(sent[:4], []time.Duration{0, 7 * h, 20 * h, 45 * h}) || len(sent) > 10 {
			t.Errorf("sent after %v", sent)
		}
		a.b.err, a.b.told = nil, atStore
		a.want(t, a.offer(t), "delivered to store")
		a.close(t)
	})
}

// A beacon that does not answer is a failure like any other.
func TestKeeperPassesFailuresOn(t *testing.T) {
	a := start(t, t.TempDir(), &beacons{took: atBeacon})
	a.require(t, uploads.LevelStore)
	a.put(t, 1, 10)
	a.want(t, a.offer(t), heldAtBeacon)
	a.b.err = errors.New("down")
	a.want(t, a.offer(t), "down")
	a.wantAsked(t, 1, 1)
	if st := a.Status(); st.Files != 1 {
		t.Errorf("%+v", st)
	}
}

func TestKeeperAsksAFewTimesASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, t.TempDir(), &beacons{took: atBeacon, told: atBeacon})
		a.require(t, uploads.LevelStore)
		for i := range 60 {
			a.put(t, i, 1)
		}
		a.offer(t)
		for range 3 {
			a.offer(t)
		}
		a.wantAsked(t, 60, 50)
		time.Sleep(15 * time.Minute)
		a.offer(t)
		a.wantAsked(t, 60, 100)
		a.close(t)
	})
}

// Room and age take first what a beacon has, and that is no loss.
func TestKeeperPartsWithWhatABeaconHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, t.TempDir(), &beacons{took: atBeacon})
		a.require(t, uploads.LevelStore)
		for i := range 3 {
			a.put(t, i, 200)
		}
		a.offer(t)
		a.put(t, 4, 200) // not sent yet
		a.put(t, 5, 500) // room for 200 only
		if st := a.spool.Stats(); st.Pending != 3 || st.Delivered != 2 || len(st.Lost) != 0 || a.Status().Files != 1 {
			t.Errorf("after %+v, %+v", st, a.Status())
		}
		time.Sleep(time.Hour)
		if err := a.Expire(time.Now()); err != nil {
			t.Error(err)
		}
		if st := a.spool.Stats(); st.Pending != 2 || st.Delivered != 3 || len(st.Lost) != 0 || a.Status().Files != 0 {
			t.Errorf("after an hour %+v, %+v", st, a.Status())
		}
		a.put(t, 6, 900) // nothing is held: others are given up, as ever
		if st := a.spool.Stats(); st.Lost[spool.LossQuota] == 0 {
			t.Errorf("in the end %+v", st)
		}
		a.close(t)
	})
}

// What leaves the outbox by another way is held no longer.
func TestKeeperForgetsWhatIsGone(t *testing.T) {
	a := start(t, t.TempDir(), &beacons{took: atBeacon})
	a.require(t, uploads.LevelStore)
	a.put(t, 1, 10)
	a.offer(t)
	if err := a.spool.Lose(1, spool.LossOperator, ""); err != nil {
		t.Fatal(err)
	}
	if st := a.Status(); st.Files != 0 {
		t.Errorf("%+v", st)
	}
}
