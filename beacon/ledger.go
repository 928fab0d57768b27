package beacon

import (
	"context"
	"log/slog"
	"time"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads/ledger"
)

// openLedger opens what tells upstream of losses.
func (b *Beacon) openLedger() (err error) {
	b.ledger, err = ledger.New(ledger.Options{Spool: b.spool, File: b.path(config.LedgerFile), Identity: b.name, Log: b.log})
	return err
}

// tellLosses makes reports until ctx is done: none where they would wait for ever.
func (b *Beacon) tellLosses(ctx context.Context) error {
	if b.config.Takes(ledger.Kind) {
		return b.ledger.Run(ctx)
	}
	if err := b.ledger.Withdraw(); err != nil {
		b.log.Warn("a loss report waits, and no destination takes it", slog.Any("err", err))
	}
	<-ctx.Done()
	return ctx.Err()
}

// countingLosses bounds how long metrics wait for the catalogue.
const countingLosses = time.Second

func (s sheet) losses(b *Beacon) {
	ctx, cancel := context.WithTimeout(context.Background(), countingLosses)
	defer cancel()
	st := b.ledger.Status()
	s.counter("beacon_losses_told_total", "Losses told upstream.", float64(st.Told))
	s.gauge("beacon_losses_untold", "Losses that are yet to be told upstream, as far as they are counted: up to 1000.", float64(st.Untold))
	if open, err := b.catalogue.OpenLosses(ctx); err == nil {
		s.gauge("beacon_uploads_open_losses", "Lost files whose bytes did not arrive again.", float64(open))
	} else {
		b.log.Debug("open losses not counted", slog.Any("err", err))
	}
}
