// Package uploadstest says, in tests, what every sink must do, and does harm to
// the connections of those that have any.
package uploadstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/stall"
)

// Limits are what sinks under test are opened with, so that a hanging
// destination costs a test seconds and not minutes.
var Limits = stall.Limits{Idle: 3 * time.Second, Answer: 6 * time.Second}

// A Holding is one file that a destination holds, complete and under its name.
type Holding struct {
	Kind   string
	Digest uploads.Digest // of what is really there
}

// A Destination is where a sink under test delivers to.
type Destination struct {
	// Open returns a sink to the destination, as a process that just started
	// would. It may be called several times.
	Open func(t *testing.T) uploads.Sink
	// Held returns everything the destination holds.
	Held func(t *testing.T) []Holding
	// Plant puts data where the upload, which may be of other bytes, would go, by
	// another hand than the sink's. Nil where nobody can tell a sink what is there
	// already: then the sink has to have put it there itself.
	Plant func(t *testing.T, u uploads.Upload, data []byte)
	// Break makes the destination fail until mend is called.
	Break func(t *testing.T) (mend func())
	// Proxy stands in front of the destination; nil if there is no connection.
	Proxy *Proxy
	// Trusting says that any answer of success counts, as of a server that proves
	// nothing.
	Trusting bool
	// Level is the custody that a delivery gives.
	Level string
}

// TestSink runs the conformance suite. Each part gets a destination of its own.
func TestSink(t *testing.T, fresh func(t *testing.T) *Destination) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, *Destination)
	}{
		{"DeliversOddNames", deliversOddNames},
		{"DeliversEmptyFile", deliversEmptyFile},
		{"DeliversLargeFile", deliversLargeFile},
		{"DeliversGroup", deliversGroup},
		{"RepeatIsHarmless", repeatIsHarmless},
		{"NameTakenBySameBytes", nameTakenBySameBytes},
		{"NameTakenByOtherBytes", nameTakenByOtherBytes},
		{"NamesThatDifferInCase", namesThatDifferInCase},
		{"WrongBytesAreNeverDelivered", wrongBytes},
		{"BrokenBodyIsNeverDelivered", brokenBodies},
		{"SameFileFromManySides", sameFileFromManySides},
		{"ManyFilesOfOneDevice", manyFilesOfOneDevice},
		{"SlowBody", slowBody},
		{"FailingDestination", failingDestination},
		{"StopsWhenCancelled", stopsWhenCancelled},
		{"ConnectionCutInBody", cutInBody},
		{"ConnectionCutBeforeAnswer", cutBeforeAnswer},
		{"KeptAliveConnectionDies", keptAliveConnectionDies},
		{"HangingDestination", hangingDestination},
		{"SlowDestination", slowDestination},
		{"AnswersOfStrangers", answersOfStrangers},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.run(t, fresh(t))
		})
	}
}

// deliver hands parcels over and fails the test unless all arrive.
func deliver(t *testing.T, d *Destination, s uploads.Sink, parcels ...uploads.Parcel) {
	t.Helper()
	for i, got := range s.Deliver(t.Context(), parcels) {
		if got.Err != nil {
			t.Fatalf("%s: %v", parcels[i].Name, got.Err)
		}
		if !slices.ContainsFunc(got.Custody, func(c uploads.Custody) bool { return c.Level == d.Level && !c.At.IsZero() }) {
			t.Errorf("%s: custody %+v, want level %q", parcels[i].Name, got.Custody, d.Level)
		}
	}
}

// mustFail hands one parcel over and fails the test if it is said to arrive.
func mustFail(t *testing.T, s uploads.Sink, p uploads.Parcel) error {
	t.Helper()
	got := s.Deliver(t.Context(), []uploads.Parcel{p})
	if len(got) != 1 {
		t.Fatalf("%d deliveries for one parcel", len(got))
	}
	if got[0].Err == nil {
		t.Fatalf("%s: delivered; want a failure", p.Name)
	}
	return got[0].Err
}

// mustRetry is mustFail for failures that must not be taken for verdicts.
func mustRetry(t *testing.T, s uploads.Sink, p uploads.Parcel) {
	t.Helper()
	err := mustFail(t, s, p)
	for _, verdict := range []error{uploads.ErrRefused, uploads.ErrLoop, uploads.ErrDigest, uploads.ErrUnknown} {
		if errors.Is(err, verdict) {
			t.Errorf("%v is taken for a verdict", err)
		}
	}
}

// wantHeld compares what the destination holds with the parcels.
func wantHeld(t *testing.T, d *Destination, parcels ...uploads.Parcel) {
	t.Helper()
	var want []Holding
	for _, p := range parcels {
		want = append(want, Holding{p.Kind, p.Digest})
	}
	order := func(a, b Holding) int {
		return slices.Compare([]byte(a.Kind+a.Digest.String()), []byte(b.Kind+b.Digest.String()))
	}
	got := slices.SortedFunc(slices.Values(d.Held(t)), order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		t.Errorf("destination holds %v\nwant %v", got, want)
	}
}

func deliversOddNames(t *testing.T, d *Destination) {
	var parcels []uploads.Parcel
	for i, name := range []string{
		"PC1 at 20261122T093000 (Full).ndi.gz",
		"jörg on BÜRO-7 at 20261122T093001.ndi",
		"日本 at 20261122T093002.ndi.gz",
		"a+b,c@d_e-f (g).h.ndi",
		"no extension 100@25",
		"1.ndi",
		fmt.Sprintf("%0196d.ndi", 1),
	} {
		parcels = append(parcels, Parcel(t, "Inventories", name, fmt.Appendf(nil, "file %d", i)))
	}
	s := d.Open(t)
	for _, p := range parcels {
		deliver(t, d, s, p)
	}
	wantHeld(t, d, parcels...)
}

func deliversEmptyFile(t *testing.T, d *Destination) {
	p := Parcel(t, "Logs", "PC1 at 20261122T093000.log", nil)
	s := d.Open(t)
	deliver(t, d, s, p)
	deliver(t, d, s, p)
	wantHeld(t, d, p)
}

func deliversLargeFile(t *testing.T, d *Destination) {
	p := Parcel(t, "Logs", "PC1 at 20261122T093000.zip", Noise(2*16<<20+4711, 1)) // three parts of 16 MiB
	deliver(t, d, d.Open(t), p)
	wantHeld(t, d, p)
}

// deliversGroup hands over several at once, a wrong one among them: it must not
// harm the others.
func deliversGroup(t *testing.T, d *Destination) {
	var parcels []uploads.Parcel
	for i := range 5 {
		parcels = append(parcels, Parcel(t, []string{"Inventories", "Logs"}[i%2], fmt.Sprintf("PC%d at 20261122T093000.log", i), Noise(1000+i, byte(i))))
	}
	bad := Wrong(Upload(t, "Logs", "PC9 at 20261122T093000.log", []byte("right")), []byte("wrong"))
	got := d.Open(t).Deliver(t.Context(), slices.Insert(slices.Clone(parcels), 2, bad))
	for i, g := range got {
		if (g.Err != nil) != (i == 2) {
			t.Errorf("parcel %d: %v", i, g.Err)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d deliveries for 6 parcels", len(got))
	}
	wantHeld(t, d, parcels...)
}

func repeatIsHarmless(t *testing.T, d *Destination) {
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(5000, 1))
	first := d.Open(t)
	deliver(t, d, first, p)
	deliver(t, d, first, p)
	deliver(t, d, d.Open(t), p) // as after a restart
	wantHeld(t, d, p)
}

func nameTakenBySameBytes(t *testing.T, d *Destination) {
	data := Noise(5000, 1)
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", data)
	d.plant(t, d.Open(t), p.Upload, data)
	deliver(t, d, d.Open(t), p)
	wantHeld(t, d, p)
}

// plant puts data where an upload would go, by another hand if there is one.
func (d *Destination) plant(t *testing.T, s uploads.Sink, u uploads.Upload, data []byte) {
	t.Helper()
	if d.Plant != nil {
		d.Plant(t, u, data)
		return
	}
	deliver(t, d, s, Parcel(t, u.Kind, u.Name.String(), data))
}

// nameTakenByOtherBytes delivers beside what is there, twice, and never over it.
func nameTakenByOtherBytes(t *testing.T, d *Destination) {
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(5000, 1))
	other := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(5000, 2))
	s := d.Open(t)
	d.plant(t, s, other.Upload, Noise(5000, 2))
	deliver(t, d, s, p)
	deliver(t, d, s, p)
	wantHeld(t, d, p, other)
	third := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(10, 3))
	deliver(t, d, s, third)
	deliver(t, d, d.Open(t), other)
	wantHeld(t, d, p, other, third)
}

func namesThatDifferInCase(t *testing.T, d *Destination) {
	a := Parcel(t, "Inventories", "pc1 at 20261122T093000.ndi.gz", Noise(5000, 1))
	b := Parcel(t, "Inventories", "PC1 AT 20261122T093000.NDI.GZ", Noise(5000, 2))
	s := d.Open(t)
	deliver(t, d, s, a)
	deliver(t, d, s, b)
	wantHeld(t, d, a, b)
}

// wrongBytes has a twin that succeeds, so that failing is not all a sink can do.
func wrongBytes(t *testing.T, d *Destination) {
	right := Noise(40_000, 1)
	flipped := slices.Clone(right)
	flipped[len(flipped)-1] ^= 1
	u := Upload(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", right)
	s := d.Open(t)
	for name, data := range map[string][]byte{"flipped bit": flipped, "too short": right[:39_999], "empty": nil} {
		if err := mustFail(t, s, Wrong(u, data)); !errors.Is(err, uploads.ErrDigest) {
			t.Errorf("%s: %v, want a digest mismatch", name, err)
		}
	}
	wantHeld(t, d)
	deliver(t, d, s, Wrong(u, right))
	wantHeld(t, d, Wrong(u, right))
}

func brokenBodies(t *testing.T, d *Destination) {
	data := Noise(400_000, 1)
	u := Upload(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", data)
	boom := errors.New("disk on fire")
	p := uploads.Parcel{Upload: u, Open: func() (uploads.Body, error) { return &brokenBody{Body(data), 100_000, boom}, nil }}
	s := d.Open(t)
	mustRetry(t, s, p)
	p.Open = func() (uploads.Body, error) { return nil, boom }
	if err := mustFail(t, s, p); !errors.Is(err, boom) {
		t.Errorf("%v does not say why", err)
	}
	p.Open = func() (uploads.Body, error) { return nil, uploads.ErrUnknown }
	if err := mustFail(t, s, p); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("%v does not say that the file is gone", err)
	}
	wantHeld(t, d)
	deliver(t, d, s, Wrong(u, data))
	wantHeld(t, d, Wrong(u, data))
}

func sameFileFromManySides(t *testing.T, d *Destination) {
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(5000, 1))
	sinks := []uploads.Sink{d.Open(t)}
	if d.Proxy != nil { // a directory has one owner
		sinks = append(sinks, d.Open(t))
	}
	want := []uploads.Parcel{p}
	var all sync.WaitGroup
	for i := range 8 {
		own := Parcel(t, "Inventories", fmt.Sprintf("PC%d at 20261122T093001.ndi.gz", i), Noise(5000, byte(2+i)))
		want = append(want, own)
		all.Go(func() {
			for _, got := range sinks[i%len(sinks)].Deliver(t.Context(), []uploads.Parcel{p, own}) {
				if got.Err != nil {
					t.Error(got.Err)
				}
			}
		})
	}
	all.Wait()
	wantHeld(t, d, want...)
}

// manyFilesOfOneDevice come in groups, side by side, as a relay sends what one
// device and kind has to send.
func manyFilesOfOneDevice(t *testing.T, d *Destination) {
	s := d.Open(t)
	var parcels []uploads.Parcel
	for i := range 40 {
		parcels = append(parcels, Parcel(t, "Logs", fmt.Sprintf("PC1 at 20261122T0930%02d.log", i), Noise(2000+i, byte(i))))
	}
	var all sync.WaitGroup
	for group := range slices.Chunk(parcels, min(10, s.Group()+1)) {
		all.Go(func() {
			for _, got := range s.Deliver(t.Context(), group) {
				if got.Err != nil {
					t.Error(got.Err)
				}
			}
		})
	}
	all.Wait()
	wantHeld(t, d, parcels...)
}

// slowBody takes longer than a transfer may stand still, as where the relay may
// use so much bandwidth and no more, but never stands still.
func slowBody(t *testing.T, d *Destination) {
	data := Noise(64<<10, 1)
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", data)
	p.Open = func() (uploads.Body, error) { return &slow{Body(data), Limits.Idle / 50}, nil }
	start := time.Now()
	deliver(t, d, d.Open(t), p)
	if took := time.Since(start); took < Limits.Idle {
		t.Errorf("took %v, less than %v: the test proves nothing", took, Limits.Idle)
	}
	wantHeld(t, d, p)
}

func failingDestination(t *testing.T, d *Destination) {
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(5000, 1))
	s := d.Open(t)
	mend := d.Break(t)
	mustRetry(t, s, p)
	mustRetry(t, s, p)
	mend()
	wantHeld(t, d)
	deliver(t, d, s, p)
	wantHeld(t, d, p)
}

func stopsWhenCancelled(t *testing.T, d *Destination) {
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(5000, 1))
	s := d.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := s.Deliver(ctx, []uploads.Parcel{p}); len(got) != 1 || !errors.Is(got[0].Err, context.Canceled) {
		t.Errorf("Deliver = %+v, want one that was cancelled", got)
	}
	deliver(t, d, s, p)
	wantHeld(t, d, p)
}
