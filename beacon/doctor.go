package beacon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/disk"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/objectstore"
)

// An Examination is what was found about one part of a beacon.
type Examination struct {
	Part     string            `json:"part"` // "data directory", or a destination's name
	Findings []uploads.Finding `json:"findings"`
}

// examineFor bounds one part. A shorter one calls a slow network broken; a
// longer one lets a person wait for nothing.
const examineFor = 30 * time.Second

// Examine tries what a beacon of that configuration needs, for the sake of
// knowing: its disk, and each destination with a write where it is one that can
// be written to. It may be done beside a running beacon.
func Examine(ctx context.Context, c *config.Config) []Examination {
	b := &Beacon{config: c, name: c.Name, log: slog.New(slog.DiscardHandler), metrics: NewMetrics()}
	if b.name == "" {
		b.name = "doctor"
	}
	out := []Examination{{"data directory", []uploads.Finding{tryFolder(c.Data), b.tryRoom()}}}
	if err := b.openGuard(ctx); err != nil {
		return append(out, Examination{"destinations", []uploads.Finding{{What: "list whom the beacon may connect to", Err: err, Detail: "correct the addresses in the configuration"}}})
	}
	for _, r := range c.Relay {
		ctx, cancel := context.WithTimeout(ctx, examineFor)
		out = append(out, Examination{r.Name, b.tryDestination(ctx, r)})
		cancel()
	}
	for _, r := range c.Fleet.Read {
		ctx, cancel := context.WithTimeout(ctx, examineFor)
		out = append(out, Examination{"fleet status in " + r.Name, b.tryShelf(ctx, r)})
		cancel()
	}
	return out
}

func (b *Beacon) tryDestination(ctx context.Context, r config.Relay) (found []uploads.Finding) {
	switch {
	case r.Directory != nil:
		return []uploads.Finding{tryFolder(r.Directory.Path)}
	case r.Beacon != nil:
		for _, l := range r.Beacon.Locations(r.Name) {
			found = append(found, b.tryParent(ctx, r.Beacon, l.Upload))
		}
		return found
	}
	sink, err := b.sink(r)
	if err != nil {
		return []uploads.Finding{{What: "use the bucket's configuration", Err: err, Detail: "correct the configuration"}}
	}
	store, ok := sink.(*objectstore.Sink)
	if !ok {
		return nil
	}
	return store.Check(ctx)
}

// tryFolder writes a file as durably as deliveries are, and removes it.
func tryFolder(dir string) uploads.Finding {
	f := uploads.Finding{What: "write and sync a file in " + dir}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		f.Optional, f.Err, f.Detail = true, err, "the beacon makes it when it starts, if it may"
		return f
	}
	file, err := os.CreateTemp(dir, ".doctor-")
	if err == nil {
		_, err = file.WriteString("written by the inventory beacon's doctor; it may be deleted\n")
		err = errors.Join(err, file.Sync(), file.Close(), os.Remove(file.Name()))
	}
	if err != nil {
		f.Err, f.Detail = err, "give the user who runs the beacon the right to write there, and the disk room"
	}
	return f
}

// tryRoom compares the free disk with the watermark below which uploads are refused.
func (b *Beacon) tryRoom() uploads.Finding {
	f := uploads.Finding{What: "have room for uploads"}
	u, err := disk.Usage(existing(b.config.Data))
	if err != nil {
		f.Err, f.Detail = err, "look at the disk of the data directory"
		return f
	}
	least := b.limits().Watermarks.Uploads
	f.Detail = fmt.Sprintf("%d MiB are free; below %d MiB uploads are refused", u.Free>>20, least>>20)
	if int64(u.Free) < least {
		f.Err = errors.New("the disk is too full")
	}
	return f
}

// existing is the folder itself, or what it will be made in.
func existing(dir string) string {
	if _, err := os.Stat(dir); err != nil {
		return "."
	}
	return dir
}

// tryParent asks a beacon above whether it takes uploads.
func (b *Beacon) tryParent(ctx context.Context, p *config.Parent, root string) uploads.Finding {
	f := uploads.Finding{What: "reach " + root, Detail: "check the address, the network, the certificate and that the beacon there runs"}
	t, err := b.transport(p.CA)
	if err != nil {
		f.Err = err
		return f
	}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, root+"/", nil)
	if err != nil {
		f.Err = err
		return f
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		f.Err = err
		return f
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusOK && p.Dialect != config.DialectClassic {
		f.Err = fmt.Errorf("it answers %s", resp.Status)
		return f
	}
	f.Detail = "it answers " + resp.Status
	return f
}
