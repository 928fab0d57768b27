package catalogue

import (
	"context"
	"errors"
)

// A Catalogue is an open index. Its methods may be called from anywhere at once.
type Catalogue struct{}

var errUnbuilt = errors.New("not built")

// Open opens the file, or makes it.
func Open(ctx context.Context, file string, o Options) (*Catalogue, error) { return nil, errUnbuilt }

// Observe takes an event behind the acknowledgement. It never blocks.
func (c *Catalogue) Observe(e Event) {}

// Seen takes a sighting behind the answer. It never blocks.
func (c *Catalogue) Seen(s Sighting) {}

// Run writes what Observe and Seen take until ctx ends, and before that
// catches up with src.
func (c *Catalogue) Run(ctx context.Context, src Source) error { return errUnbuilt }

// Index writes events in one transaction.
func (c *Catalogue) Index(ctx context.Context, events []Event) error { return errUnbuilt }

// CatchUp indexes what src has beyond what is indexed.
func (c *Catalogue) CatchUp(ctx context.Context, src Source) error { return errUnbuilt }

// Reindex forgets uploads, deliveries and losses and reads them from src again.
func (c *Catalogue) Reindex(ctx context.Context, src Source) error { return errUnbuilt }

// Sync returns once everything taken before is written; Run must be running.
func (c *Catalogue) Sync(ctx context.Context) error { return errUnbuilt }

// Close closes the file.
func (c *Catalogue) Close() error { return errUnbuilt }

// Uploads lists uploads, newest first.
func (c *Catalogue) Uploads(ctx context.Context, f UploadFilter) ([]Upload, error) {
	return nil, errUnbuilt
}

// Upload finds the newest upload of a receipt identifier or its beginning. The error matches
// [inventorybeacon/uploads.ErrUnknown] or [ErrAmbiguous].
func (c *Catalogue) Upload(ctx context.Context, receipt string) (Upload, error) {
	return Upload{}, errUnbuilt
}

// Devices lists devices.
func (c *Catalogue) Devices(ctx context.Context, f DeviceFilter) ([]Device, error) {
	return nil, errUnbuilt
}

// Device finds devices by name, DOMAIN/name, agent id or address.
func (c *Catalogue) Device(ctx context.Context, query string) ([]Device, error) {
	return nil, errUnbuilt
}

// Losses lists losses, newest first.
func (c *Catalogue) Losses(ctx context.Context, f LossFilter) ([]Loss, error) {
	return nil, errUnbuilt
}

// Counts counts.
func (c *Catalogue) Counts(ctx context.Context) (Counts, error) { return Counts{}, errUnbuilt }

// Trace gathers everything known about a device, named as for Device.
func (c *Catalogue) Trace(ctx context.Context, query string) (Trace, error) {
	return Trace{}, errUnbuilt
}

// Stats returns counters.
func (c *Catalogue) Stats() Stats { return Stats{} }
