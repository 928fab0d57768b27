package beacon

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/content"
	contentgate "inventorybeacon/uploads/content/gate"
	"inventorybeacon/uploads/quarantine"
)

func (b *Beacon) quarantineOptions() quarantine.Options {
	c := b.config.Quarantine
	return quarantine.Options{MaxFiles: c.MaxFiles, MaxBytes: int64(c.MaxBytes), MaxAge: c.MaxAge, Log: thin(b.log)}
}

// openGate puts the check of content between the spool and its relays.
func (b *Beacon) openGate(kinds *uploads.Kinds) error {
	var sinks []string
	for _, r := range b.config.Relay {
		sinks = append(sinks, r.Name)
	}
	check := b.o.Check
	if check == nil {
		check = func(ctx context.Context, u uploads.Upload, body uploads.Body) error {
			return content.Check(ctx, u.Name, body, u.Size, limitOf(kinds, u.Kind))
		}
	}
	b.gate = contentgate.New(contentgate.Options{
		Queue: b.spool, Sinks: sinks, Quarantine: b.quarantine, Rules: b.config.ContentRules(),
		Check: check, Workers: cmp.Or(b.config.Content.Workers, processors/2), Budget: b.config.Content.Budget, Log: thin(b.log),
	})
	return b.forgetReleased()
}

// limitOf is how large a file of a kind may be, inflated too.
func limitOf(kinds *uploads.Kinds, folder string) int64 {
	if k, ok := kinds.ByFolder(folder); ok {
		return k.MaxBytes
	}
	return uploads.DefaultMaxBytes
}

// forgetReleased finishes releases that were interrupted when the file was in the
// spool again and not yet out of quarantine.
func (b *Beacon) forgetReleased() error {
	entries, err := b.quarantine.List(false)
	if err != nil { // of sidecars that nobody can read; the rest is listed
		b.log.Error("quarantine", slog.Any("err", err))
	}
	for _, e := range entries {
		if u, held := b.spool.HeldExact(e.Kind, e.Name, e.Digest); !held || !u.Released {
			continue
		}
		if err := b.quarantine.Forget(e.ID); err != nil {
			return err
		}
	}
	return nil
}

// expireEvery is how often quarantine and catalogue are told what time did.
const expireEvery = time.Hour

// tidyQuarantine lets go what nobody decided about in time, and tells the
// catalogue what is gone.
func (b *Beacon) tidyQuarantine(ctx context.Context) error {
	for {
		if err := b.quarantine.Expire(time.Now()); err != nil {
			b.log.Error("quarantine", slog.Any("err", err))
		}
		if err := b.indexDepartures(ctx); err != nil && ctx.Err() == nil {
			b.log.Error("quarantine", slog.Any("err", err))
		}
		if !backoff.Sleep(ctx, expireEvery) {
			return ctx.Err()
		}
	}
}

func (b *Beacon) indexDepartures(ctx context.Context) error {
	if err := b.catalogue.Sync(ctx); err != nil {
		return err
	}
	record, err := b.quarantine.Record() // what cannot be read was said when it was opened
	if err != nil {
		return err
	}
	return b.catalogue.Dropped(ctx, record)
}

// content puts the numbers of the check and of the quarantine on the sheet.
func (s sheet) content(g contentgate.Stats, u quarantine.Usage, left map[string]uint64) {
	s.gauge("beacon_content_waiting_files", "Files whose content is still to be checked.", float64(g.Waiting))
	for result, n := range map[string]uint64{"sound": g.Sound, "flagged": g.Flagged, "refused": g.Refused, "failed": g.Failed} {
		s.counter("beacon_content_checks_total", "Checks of whole files, by what came of them.", float64(n), "result", result)
	}
	s.counter("beacon_content_check_seconds_total", "Time that checks took.", g.Busy.Seconds())
	s.gauge("beacon_quarantine_files", "Files in quarantine.", float64(u.Files))
	s.gauge("beacon_quarantine_bytes", "Bytes of these files.", float64(u.Bytes))
	s.gauge("beacon_quarantine_oldest_age_seconds", "How long the first of these files has been there; 0 if there is none.", s.age(u.Oldest))
	for _, how := range []string{quarantine.LeftReleased, quarantine.LeftOperator, quarantine.LeftAge, quarantine.LeftQuota} {
		s.counter("beacon_quarantine_left_total", "Files that left the quarantine.", float64(left[how]), "how", how)
	}
}
