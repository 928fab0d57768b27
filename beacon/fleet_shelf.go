package beacon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/fleet/shelf"
	"inventorybeacon/uploads/objectstore"
)

// openShelves makes what reads the reports that other beacons put into stores.
func (b *Beacon) openShelves() error {
	if len(b.config.Fleet.Read) == 0 {
		return nil
	}
	dir := b.path(config.FleetReadDir)
	if err := durablefile.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory of fleet status: %w", err)
	}
	kind, _ := b.config.UploadKinds().ByFolder(fleet.Kind)
	for _, r := range b.config.Fleet.Read {
		store, err := b.shelved(r)
		if err != nil {
			return fmt.Errorf("fleet status of %s: %w", r.Name, err)
		}
		b.words.shelves = append(b.words.shelves, shelf.New(shelf.Options{
			Name: r.Name, Where: strings.Join([]string{r.S3.Endpoint, r.S3.Bucket, r.S3.Prefix}, " "), Store: store, Every: r.Every,
			Self: b.name, MaxBytes: kind.MaxBytes, Dir: dir, Index: b.words.index, Tell: b.words.tellShelved, Log: b.log,
		}))
	}
	return nil
}

// Shelves says how reading from each store goes.
func (b *Beacon) Shelves() (all []shelf.Status) {
	for _, s := range b.words.shelves {
		all = append(all, s.Status())
	}
	return all
}

func (b *Beacon) shelved(r config.FleetStore) (*objectstore.Reader, error) {
	o, err := b.bucket(r.S3)
	if err != nil {
		return nil, err
	}
	return objectstore.OpenReader(o)
}

func (w *wordReader) index(ctx context.Context) (int64, error) {
	index, _, err := w.b.catalogue.Changes(ctx)
	return index, err
}

// tellShelved takes a report as one that the beacon brought which put it into the
// store. That beacon stands for the address from which devices become known: it is
// who can be told from others.
func (w *wordReader) tellShelved(ctx context.Context, u uploads.Upload, body uploads.Body) (full bool, err error) {
	u.Peer = "store " + u.Via[len(u.Via)-1]
	return w.tell(ctx, u, body)
}

// tryShelf tries what reading reports from a store needs.
func (b *Beacon) tryShelf(ctx context.Context, r config.FleetStore) []uploads.Finding {
	store, err := b.shelved(r)
	if err != nil {
		return []uploads.Finding{{What: "use the bucket's configuration", Err: err, Detail: "correct the configuration"}}
	}
	return store.Check(ctx, fleet.Kind, time.Now())
}

func (s sheet) shelves(all []shelf.Status) {
	for _, st := range all {
		l := []string{"store", st.Name}
		s.counter("beacon_fleet_store_reports_total", "Reports found in a store, by what became of them.", float64(st.Read), append(l, "result", "read")...)
		s.counter("beacon_fleet_store_reports_total", "Reports found in a store, by what became of them.", float64(st.Refused), append(l, "result", "refused")...)
		s.gauge("beacon_fleet_store_failures", "Looks at a store in a row that failed.", float64(st.Failures), l...)
		s.gauge("beacon_fleet_store_success_timestamp_seconds", "When a store was last looked through without a failure; 0 is never.", float64(max(0, st.Success.Unix())), l...)
	}
}
