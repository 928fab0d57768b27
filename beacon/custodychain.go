package beacon

import (
	"context"
	"fmt"
	"time"

	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/signing"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
	"inventorybeacon/uploads/custody/inquiry"
	"inventorybeacon/uploads/spool"
)

// openSigning makes or reads the key that receipts are signed with.
func (b *Beacon) openSigning(context.Context) (err error) {
	b.signer, err = signing.Open(b.path(config.KeysDir), b.log)
	return err
}

// observe passes the spool's events on. It must not block.
func (b *Beacon) observe(e spool.Event) {
	b.catalogue.Observe(e)
	if b.ledger != nil { // else the spool is being opened
		b.ledger.Observe(e)
	}
	b.observeFleet(e)
	for _, a := range b.askers {
		a.Observe(e)
	}
}

// wanted is told that somebody asked for a receipt that is not known to be in
// the store. Only what a parent has can have got further.
func (b *Beacon) wanted(f custody.File, holders []uploads.Custody) {
	if custody.Highest(holders) != uploads.LevelParent {
		return
	}
	for _, a := range b.askers {
		a.Want(f)
	}
}

// unheard is how far back a beacon that was restarted looks for files of which
// it has not heard the last. Further back costs its parent questions; those
// nearer are asked about only on demand.
const unheard = 7 * 24 * time.Hour

// follow asks a destination, if it can be asked, how far up files have got.
func (b *Beacon) follow(name string, sink uploads.Sink) {
	teller, ok := sink.(inquiry.Teller)
	if !ok {
		return
	}
	b.askers = append(b.askers, inquiry.New(inquiry.Options{
		Sink: name, Teller: teller, Ledger: b.spool, Log: b.log,
		Recent: func(ctx context.Context, limit int) ([]custody.File, error) {
			if err := b.catalogue.Sync(ctx); err != nil {
				return nil, fmt.Errorf("wait for the catalogue: %w", err)
			}
			return b.catalogue.NotStored(ctx, name, time.Now().Add(-unheard), limit)
		},
	}))
}

func (s sheet) inquiry(a inquiry.Status) {
	l := []string{"sink", a.Sink}
	s.gauge("beacon_custody_waiting_files", "Delivered files of which a parent is still asked whether its store has them.", float64(a.Waiting), l...)
	s.counter("beacon_custody_questions_total", "Questions to a parent about how far up a file has got.", float64(a.Asked), l...)
	s.counter("beacon_custody_learnt_total", "Answers that told of a new holder.", float64(a.Learnt), l...)
	s.counter("beacon_custody_failures_total", "Questions that got no answer and are asked again.", float64(a.Failures), l...)
	s.counter("beacon_custody_forgotten_total", "Files that are asked about only on demand because too many waited.", float64(a.Forgotten), l...)
}
