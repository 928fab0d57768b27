package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
)

// A Requeue names files that are to be offered again: by receipt, or all that
// match device and kind. Empty fields match everything.
type Requeue struct {
	Receipts     []string
	Device, Kind string
	// Sink is the destination; empty for all.
	Sink string
}

// Requeued is what came of it.
type Requeued struct {
	// Offered counts the offers: a file that two destinations had set aside is two.
	Offered int `json:"offered"`
}

// RequeueUploads offers again what destinations set aside or deferred.
var RequeueUploads = Call[Requeue, Requeued]{"uploads.requeue", (*Desk).requeueUploads}

var errNotRelaying = errors.New("the beacon is not running; all that waits is offered anew when it starts")

func (d *Desk) requeueUploads(ctx context.Context, in Requeue) (out Requeued, err error) {
	if d.requeue == nil {
		return out, errNotRelaying
	}
	named := map[string]bool{}
	for _, r := range in.Receipts {
		u, err := d.showUpload(ctx, r)
		if err != nil {
			return out, err
		}
		if err := requeueable(u.Upload); err != nil {
			return out, err
		}
		named[u.Receipt] = true
	}
	domain, device := splitDevice(in.Device)
	out.Offered, err = d.requeue(in.Sink, func(u uploads.Upload) bool {
		switch {
		case len(named) > 0 && !named[uploads.ReceiptID(u.Kind, u.Name, u.Digest)],
			device != "" && !strings.EqualFold(u.Device.Name, device),
			domain != "" && !strings.EqualFold(u.Device.Domain, domain),
			in.Kind != "" && !strings.EqualFold(u.Kind, in.Kind):
			return false
		}
		return true
	})
	return out, err
}

func requeueable(u catalogue.Upload) error {
	switch u.State {
	case catalogue.StateWaiting:
		return nil
	case catalogue.StateQuarantined:
		return fmt.Errorf("%s is in quarantine: run `beacon uploads quarantine release %s` to let it go on", u.Name, u.Receipt)
	}
	return fmt.Errorf("%s is %s: there is nothing to offer again", u.Name, u.State)
}
