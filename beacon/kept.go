package beacon

import (
	"context"
	"errors"
	"strings"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	contentgate "inventorybeacon/uploads/content/gate"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/kept"
	"inventorybeacon/uploads/ledger"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

const (
	// keptReports is how many loss reports of one sender are kept, of up to a
	// thousand losses each. More show losses further back; each takes up to half a MiB.
	keptReports = 100
	// keptLargest is the largest file that is kept. A larger one would hold up the
	// record of its delivery, and those of the files beside it, while it is copied.
	keptLargest = 64 << 20
)

// openKept opens the store of copies.
func (b *Beacon) openKept() (err error) {
	c := b.config.Kept
	b.kept, err = kept.Open(b.path(config.KeptDir), kept.Options{
		Newest: b.keeps, MaxBytes: int64(c.MaxBytes), MaxAge: c.MaxAge, Log: b.log,
		Room: func() bool { return b.room.below() == "" },
	})
	if err == nil {
		b.closers = append(b.closers, b.kept.Close)
	}
	return err
}

// keeps is how many of the newest files like e stay.
func (b *Beacon) keeps(e kept.Entry) int {
	switch {
	case e.Size > keptLargest:
		return 0
	case ledger.IsReport(e.Kind, e.Name):
		if len(e.Via) == 0 && e.Peer == "" {
			return 0 // of losses that our journal knows
		}
		return keptReports
	case strings.EqualFold(e.Kind, fleet.Kind):
		return keepsStatus(e)
	case e.Device.IsZero():
		return 0
	}
	return b.config.Keeps(e.Kind)
}

// A keeper is the queue that relays take files from, of which copies are made
// before a delivery is recorded.
type keeper struct {
	*contentgate.Gate
	store *kept.Store
	words *wordReader
}

var (
	_ relay.Queue     = keeper{}
	_ relay.Latecomer = keeper{}
)

// Deliver implements [relay.Queue]. A copy that cannot be made holds nothing up.
func (k keeper) Deliver(sink string, marks []spool.Mark) error {
	var parcels []uploads.Parcel
	for _, m := range marks {
		u, held := k.Lookup(m.Seq)
		if held && isWord(u) {
			k.words.take(context.Background(), u) // its bytes may be gone with this delivery
		}
		if held && k.store.Wants(u) {
			parcels = append(parcels, uploads.Parcel{Upload: u, Open: func() (uploads.Body, error) { return k.Body(u.Seq) }})
		}
	}
	_ = k.store.Keep(parcels) // it logs and counts
	return k.Gate.Deliver(sink, marks)
}

// runKept tidies the copies and tells the catalogue of them.
func (b *Beacon) runKept(ctx context.Context) error {
	return b.kept.Run(ctx, &keptIndex{b: b})
}

// A keptIndex is the catalogue as the copies see it.
type keptIndex struct {
	b        *Beacon
	replaced uint64 // times the catalogue was made anew before it was told everything
}

var errRecreated = errors.New("the catalogue is new")

// ReplaceKept implements [kept.Index].
func (i *keptIndex) ReplaceKept(ctx context.Context) error {
	i.replaced = i.b.catalogue.Stats().Recreated
	return i.b.catalogue.ReplaceKept(ctx, catalogue.KeptFiles(i.b.kept))
}

// ChangeKept implements [kept.Index].
func (i *keptIndex) ChangeKept(ctx context.Context, added []kept.Entry, left []string) error {
	if i.b.catalogue.Stats().Recreated != i.replaced {
		return errRecreated
	}
	files := make([]catalogue.KeptFile, len(added))
	for n, e := range added {
		files[n] = catalogue.KeptFileOf(i.b.kept, e)
	}
	return i.b.catalogue.ChangeKept(ctx, files, left)
}

// Kept is the store of copies.
func (b *Beacon) Kept() *kept.Store { return b.kept }

func (s sheet) kept(st kept.Stats) {
	s.gauge("beacon_kept_files", "Copies of delivered files in kept/.", float64(st.Files))
	s.gauge("beacon_kept_bytes", "Disk that these take, their sidecars included.", float64(st.Bytes))
	s.counter("beacon_kept_copied_total", "Copies made.", float64(st.Copied))
	s.counter("beacon_kept_skipped_total", "Files not copied because newer ones are there, or the disk is short.", float64(st.Skipped))
	s.counter("beacon_kept_failures_total", "Copies that could not be made.", float64(st.Failed))
	for how, n := range map[string]uint64{"superseded": st.Superseded, "age": st.Aged, "quota": st.Squeezed, "damaged": st.Damaged} {
		s.counter("beacon_kept_left_total", "Copies that left.", float64(n), "how", how)
	}
}
