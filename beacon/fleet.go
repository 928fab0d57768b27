package beacon

import (
	"context"
	"log/slog"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/kept"
	"inventorybeacon/uploads/spool"
)

// keptStatus is how many full reports of each beacon below are kept, from which
// its words are known again when the index was made anew. One is enough; the other
// is for the time that its successor needs to arrive.
const keptStatus = 2

// keepsStatus is how many reports like e stay.
func keepsStatus(e kept.Entry) int {
	if len(e.Via) == 0 || !fleet.IsFull(e.Name) {
		return 0
	}
	return keptStatus
}

// openFleet makes what reports and what reads reports.
func (b *Beacon) openFleet() (err error) {
	b.words = &wordReader{b: b, log: b.log, wake: make(chan struct{}, 1), done: map[uint64]bool{}}
	if b.reporter, err = newReporter(b); err != nil {
		return err
	}
	return b.openShelves()
}

// observeFleet passes on the arrival of reports. It does not block.
func (b *Beacon) observeFleet(e spool.Event) {
	if b.words != nil && e.What == spool.Accepted && isWord(e.Upload) {
		b.words.arrived(e.Upload.Seq)
	}
}

// isWord reports whether u is the word of a beacon below.
func isWord(u uploads.Upload) bool { return len(u.Via) > 0 && fleet.OfBeacon(u) }

func (s sheet) fleet(b *Beacon) {
	ctx, cancel := context.WithTimeout(context.Background(), countingLosses)
	defer cancel()
	rd := b.words.stats()
	s.counter("beacon_fleet_reports_total", "Fleet status reports made, by what became of them.", float64(b.reporter.made.Load()), "result", "made")
	s.counter("beacon_fleet_reports_total", "Fleet status reports made, by what became of them.", float64(b.reporter.replaced.Load()), "result", "replaced")
	s.counter("beacon_fleet_reports_total", "Fleet status reports made, by what became of them.", float64(b.reporter.failed.Load()), "result", "failed")
	s.counter("beacon_fleet_words_total", "Reports of beacons below that were read.", float64(rd.read), "result", "read")
	s.counter("beacon_fleet_words_total", "Reports of beacons below that were read.", float64(rd.refused), "result", "refused")
	s.counter("beacon_fleet_devices_dropped_total", "Devices in such reports that were passed over: no name, or too many.", float64(rd.dropped))
	s.shelves(b.Shelves())
	s.missing(&b.words.absent)
	all, err := b.catalogue.Words(ctx)
	if err != nil {
		b.log.Debug("beacons below not counted", slog.Any("err", err))
		return
	}
	latest, silent := map[string]time.Time{}, 0
	for _, w := range all { // the latest first
		if _, ok := latest[w.Beacon]; ok {
			continue
		}
		latest[w.Beacon] = w.At
		if w.Silent(s.now) {
			silent++
		}
	}
	oldest := s.now
	for _, at := range latest {
		if at.Before(oldest) {
			oldest = at
		}
	}
	s.gauge("beacon_fleet_beacons", "Beacons below that reported within the retention.", float64(len(latest)))
	s.gauge("beacon_fleet_silent_beacons", "Beacons below whose word is overdue.", float64(silent))
	s.gauge("beacon_fleet_oldest_word_age_seconds", "Age of the oldest last word of a beacon below; 0 if there is none.", s.age(oldest))
}
