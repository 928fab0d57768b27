package catalogue

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/contact"
	"inventorybeacon/uploads/spool"
)

// A journal is what a spool would tell, without the disk.
type journal struct {
	mu     sync.Mutex
	events []Event
	at     time.Time
	asked  int // times Events was called
	fail   error
}

func newJournal() *journal {
	return &journal{at: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
}

func (j *journal) Events(after uint64) iter.Seq2[Event, error] {
	j.mu.Lock()
	j.asked++
	events, fail := slices.Clone(j.events), j.fail
	j.mu.Unlock()
	return func(yield func(Event, error) bool) {
		if fail != nil {
			yield(Event{}, fail)
			return
		}
		for _, e := range events {
			if e.Seq > after && !yield(e, nil) {
				return
			}
		}
	}
}

// add gives an event its number and, unless it has one, its time.
func (j *journal) add(e Event) Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Seq = uint64(len(j.events)) + 1
	j.at = j.at.Add(time.Second)
	if e.At.IsZero() {
		e.At = j.at
	}
	if e.What == spool.Accepted {
		e.Upload.Seq, e.Upload.Received = e.Seq, e.At
	}
	j.events = append(j.events, e)
	return e
}

// put is an accepted upload of 100 bytes from a device.
func (j *journal) put(kind, name string, d uploads.Device, change ...func(*uploads.Upload)) Event {
	u := uploads.Upload{
		Kind: kind, Name: mustName(name), Device: d, Digest: uploads.DigestOf([]byte(name)),
		Size: 100, Beacon: "b1", Peer: "192.0.2.7",
	}
	for _, f := range change {
		f(&u)
	}
	return j.add(Event{What: spool.Accepted, Upload: u})
}

func (j *journal) deliver(e Event, sink string, left bool) Event {
	return j.add(Event{What: spool.Delivered, Upload: e.Upload, Sink: sink, Left: left,
		Custody: []uploads.Custody{{Level: uploads.LevelStore, Beacon: sink, At: e.At}}})
}

func (j *journal) lose(e Event, reason string) Event {
	return j.add(Event{What: spool.Lost, Upload: e.Upload, Reason: reason, Detail: "because of " + reason, Left: true})
}

func mustName(s string) uploads.Name {
	n, err := uploads.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

var sinks = []Sink{{Name: "disk", Required: true}, {Name: "store", Required: true, Kinds: []string{"inventories"}}}

func openAt(t *testing.T, file string, o Options) *Catalogue {
	t.Helper()
	if o.Sinks == nil {
		o.Sinks = sinks
	}
	c, err := Open(t.Context(), file, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func fresh(t *testing.T, o Options) *Catalogue {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "catalog.db"), o)
}

// filled is a catalogue with all of j in it.
func filled(t *testing.T, j *journal) *Catalogue {
	t.Helper()
	c := fresh(t, Options{})
	catchUp(t, c, j)
	return c
}

func catchUp(t *testing.T, c *Catalogue, src Source) {
	t.Helper()
	if err := c.CatchUp(t.Context(), src); err != nil {
		t.Fatal(err)
	}
}

// run runs c until the test ends or stop is called.
func run(t *testing.T, c *Catalogue, src Source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, src) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func listed(t *testing.T, c *Catalogue, f UploadFilter) []Upload {
	t.Helper()
	got, err := c.Uploads(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func device(t *testing.T, c *Catalogue, name string) Device {
	t.Helper()
	got, err := c.Device(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d devices for %q: %+v", len(got), name, got)
	}
	return got[0]
}

func namesOf(us []Upload) (out []string) {
	for _, u := range us {
		out = append(out, u.Name)
	}
	return out
}

var (
	pc1 = uploads.Device{Domain: "EXAMPLE", Name: "pc1"}
	pc2 = uploads.Device{Domain: "EXAMPLE", Name: "pc2"}
)

// day is one of everything that can happen to a file.
func day() *journal {
	j := newJournal()
	waiting := j.put("Inventories", "pc1 at 20261122T080000.ndi.gz", pc1, func(u *uploads.Upload) {
		u.Via, u.AgentID, u.Recovered, u.Modified = []string{"b7", "b8"}, "a1", true, time.UnixMilli(1_700_000_000_123).UTC()
	})
	done := j.put("Logs", "pc1 at 20261122T080001.log", pc1)
	lost := j.put("Logs", "pc2 at 20261122T080002.log", pc2)
	refused := j.put("UsageData", "pc2 at 20261122T080003.mmi", pc2)
	j.put("Logs", "nobody.log", uploads.Device{})
	j.deliver(waiting, "disk", false)
	j.deliver(done, "disk", true)
	j.lose(lost, spool.LossQuota)
	j.lose(refused, spool.LossRefused)
	j.add(Event{What: spool.Lost, Upload: uploads.Upload{Seq: 4711}, Reason: spool.LossDamaged}) // nothing else is known
	return j
}

func TestCatalogueIndexesWhatHappened(t *testing.T) {
	j := day()
	c := filled(t, j)
	got := listed(t, c, UploadFilter{})
	if d := cmp.Diff([]State{StateWaiting, StateQuarantined, StateLost, StateDelivered, StateWaiting}, states(got)); d != "" {
		t.Error(d)
	}
	e := j.events[0]
	want := Upload{
		Seq: 1, Receipt: uploads.ReceiptID(e.Upload.Kind, e.Upload.Name, e.Upload.Digest), Kind: "Inventories", Name: e.Upload.Name.String(),
		Device: "pc1", Domain: "EXAMPLE", AgentID: "a1", SHA256: e.Upload.Digest, Bytes: 100, Received: e.At,
		Modified: e.Upload.Modified, Beacon: "b1", Via: []string{"b7", "b8"}, Peer: "192.0.2.7", Recovered: true, State: StateWaiting,
		Deliveries: []Delivery{{Sink: "disk", At: j.events[5].At, Custody: j.events[5].Custody}},
	}
	if d := cmp.Diff(want, got[4]); d != "" {
		t.Error(d)
	}
	if m := got[4].MissingFrom(sinks); len(m) != 1 || m[0].Name != "store" {
		t.Errorf("missing from %+v, want store", m)
	}
	if u := got[3]; !u.Ended.Equal(j.events[6].At) || len(u.MissingFrom(sinks)) != 0 {
		t.Errorf("delivered: ended %v, missing from %v", u.Ended, u.MissingFrom(sinks))
	}
	if u := got[1]; u.Reason != spool.LossRefused || u.Detail != "because of refused" || !u.Ended.Equal(j.events[8].At) {
		t.Errorf("quarantined: %+v", u)
	}
}

func states(us []Upload) (out []State) {
	for _, u := range us {
		out = append(out, u.State)
	}
	return out
}

func TestCatalogueListsBy(t *testing.T) {
	j := day()
	c := filled(t, j)
	for name, tt := range map[string]struct {
		f    UploadFilter
		want []uint64
	}{
		"all":              {UploadFilter{}, []uint64{5, 4, 3, 2, 1}},
		"limit":            {UploadFilter{Limit: 2}, []uint64{5, 4}},
		"device":           {UploadFilter{Device: "PC1"}, []uint64{2, 1}},
		"domain":           {UploadFilter{Device: "example/pc1"}, []uint64{2, 1}},
		"other domain":     {UploadFilter{Device: "other/pc1"}, nil},
		"no such device":   {UploadFilter{Device: "pc"}, nil},
		"kind":             {UploadFilter{Kind: "logs"}, []uint64{5, 3, 2}},
		"no such kind":     {UploadFilter{Kind: "log"}, nil},
		"since":            {UploadFilter{Since: j.events[3].At}, []uint64{5, 4}},
		"waiting":          {UploadFilter{State: StateWaiting}, []uint64{5, 1}},
		"delivered":        {UploadFilter{State: StateDelivered}, []uint64{2}},
		"lost":             {UploadFilter{State: StateLost}, []uint64{3}},
		"quarantined":      {UploadFilter{State: StateQuarantined}, []uint64{4}},
		"several together": {UploadFilter{Device: "pc2", Kind: "Logs", State: StateLost, Since: j.events[0].At}, []uint64{3}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []uint64
			for _, u := range listed(t, c, tt.f) {
				got = append(got, u.Seq)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCatalogueFindsReceipt(t *testing.T) {
	j := newJournal()
	for i := range 40 {
		j.put("Logs", fmt.Sprintf("f%d.log", i), uploads.Device{})
	}
	again := j.put("Logs", "f7.log", uploads.Device{})
	c := filled(t, j)
	u := again.Upload
	id := uploads.ReceiptID(u.Kind, u.Name, u.Digest)
	for _, prefix := range []string{id, id[:8], strings.ToUpper(id), " " + id + "\n"} {
		if got, err := c.Upload(t.Context(), prefix); err != nil || got.Seq != u.Seq {
			t.Errorf("%q: upload %d, %v; want %d", prefix, got.Seq, err, u.Seq)
		}
	}
	for prefix, want := range map[string]error{
		"": uploads.ErrUnknown, "%": uploads.ErrUnknown, "zzzzzzzzzz": uploads.ErrUnknown, id + "a": uploads.ErrUnknown, "' OR 1=1": uploads.ErrUnknown,
	} {
		if _, err := c.Upload(t.Context(), prefix); err == nil || !cmp.Equal(err, want, cmpopts.EquateErrors()) {
			t.Errorf("%q: %v, want %v", prefix, err, want)
		}
	}
	// Of 40 receipts two share their first character, of which there are 32.
	ambiguous := 0
	for _, r := range "abcdefghijklmnopqrstuvwxyz234567" {
		if _, err := c.Upload(t.Context(), string(r)); cmp.Equal(err, ErrAmbiguous, cmpopts.EquateErrors()) {
			ambiguous++
		}
	}
	if ambiguous == 0 {
		t.Error("no prefix was ambiguous")
	}
}

func TestCatalogueLedgerOfLosses(t *testing.T) {
	j := day()
	c := filled(t, j)
	all, err := c.Losses(t.Context(), LossFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || all[0].Seq != 4711 || all[0].Reason != spool.LossDamaged {
		t.Fatalf("losses: %+v", all)
	}
	if l := all[2]; l.Reason != spool.LossQuota || l.Device != "pc2" || l.SHA256.IsZero() || l.Age() != 5*time.Second {
		t.Errorf("loss by quota: %+v, age %v", l, l.Age())
	}
	// The same bytes arrive again: the entry is closed, and they count once.
	again := j.put("Logs", "pc2 at 20261122T080002.log", pc2)
	catchUp(t, c, j)
	open, err := c.Losses(t.Context(), LossFilter{Open: true, Device: "EXAMPLE/PC2"})
	if err != nil || len(open) != 1 || open[0].Reason != spool.LossRefused {
		t.Errorf("open losses of pc2: %+v, %v", open, err)
	}
	if u := listed(t, c, UploadFilter{Device: "pc2", Kind: "Logs"}); len(u) != 2 || u[1].Resent != again.Upload.Seq || u[0].State != StateWaiting {
		t.Errorf("after the resend: %+v", u)
	}
	n, err := c.Counts(t.Context())
	if err != nil || n.Losses != 3 || n.OpenLosses != 2 || n.Uploads[StateLost] != 0 || n.Uploads[StateWaiting] != 3 {
		t.Errorf("counts: %+v, %v", n, err)
	}
}

// A damaged record of which the journal knows but the number is completed from the index.
func TestCatalogueCompletesLossOfUnknownFile(t *testing.T) {
	j := newJournal()
	e := j.put("Logs", "a.log", pc1)
	j.add(Event{What: spool.Lost, Upload: uploads.Upload{Seq: e.Upload.Seq}, Reason: spool.LossDamaged})
	got, err := filled(t, j).Losses(t.Context(), LossFilter{Device: "pc1"})
	if err != nil || len(got) != 1 || got[0].Name != "a.log" || got[0].SHA256 != e.Upload.Digest || got[0].Received.IsZero() {
		t.Errorf("losses: %+v, %v", got, err)
	}
}

func TestCatalogueCountsDevicesByKind(t *testing.T) {
	c := filled(t, day())
	d := device(t, c, "PC1")
	want := []Activity{
		{Kind: "Inventories", Uploads: 1, Bytes: 100, Last: d.FirstSeen, LastSeq: 1},
		{Kind: "Logs", Uploads: 1, Bytes: 100, Last: d.LastSeen, LastSeq: 2},
	}
	if diff := cmp.Diff(want, d.Kinds); diff != "" {
		t.Error(diff)
	}
	if d.Uploads != 2 || d.Bytes != 200 || d.Clone {
		t.Errorf("device: %+v", d)
	}
}

// Indexing the same again changes nothing, wherever a batch begins.
func TestCatalogueIndexIsIdempotent(t *testing.T) {
	j := day()
	c, want := fresh(t, Options{}), snapshot(t, filled(t, j))
	for i := range j.events {
		for _, part := range [][]Event{j.events[:i+1], j.events[i/2 : i+1]} {
			if err := c.Index(t.Context(), part); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d := cmp.Diff(want, snapshot(t, c)); d != "" {
		t.Error(d)
	}
}

// A contents is all that the journal determines.
type contents struct {
	Uploads []Upload
	Losses  []Loss
	Devices []Device
	Counts  Counts
}

func snapshot(t *testing.T, c *Catalogue) (s contents) {
	t.Helper()
	var errs [3]error
	s.Uploads = listed(t, c, UploadFilter{Limit: MaxLimit})
	s.Losses, errs[0] = c.Losses(t.Context(), LossFilter{Limit: MaxLimit})
	s.Devices, errs[1] = c.Devices(t.Context(), DeviceFilter{Limit: MaxLimit})
	s.Counts, errs[2] = c.Counts(t.Context())
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Counts.Since = time.Time{} // of this file
	return s
}

// seen is a sighting by our agent.
func seen(d uploads.Device, id, peer string, at time.Time, change ...func(*Sighting)) Sighting {
	s := Sighting{
		At: at, Device: d, Peer: peer, Act: ActOther, Status: 200,
		Contact: contact.Contact{ID: id, Domain: d.Domain, Name: d.Name, Version: "1.0", Revision: 3, Digest: "d", Spool: 2, Clock: at.Add(time.Minute)},
	}
	for _, f := range change {
		f(&s)
	}
	return s
}

func see(t *testing.T, c *Catalogue, all ...Sighting) {
	t.Helper()
	for _, s := range all {
		c.Seen(s)
	}
	if err := c.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
