package beacon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/fleet"
)

// countMissing is how often it is counted who is late: it reads all devices.
const countMissing = 5 * time.Minute

// absent is how many of the expected devices are late, as of a while ago.
type absent struct {
	mu       sync.Mutex
	at       time.Time
	expected int
	late     map[catalogue.Cause]int
}

// count counts if it is time to.
func (m *absent) count(ctx context.Context, b *Beacon, now time.Time) {
	m.mu.Lock()
	due := m.at.IsZero() || now.Sub(m.at) >= countMissing
	m.mu.Unlock()
	if !due {
		return
	}
	expected, err := fleet.LoadExpected(b.path(config.ExpectedFile))
	late := map[catalogue.Cause]int{}
	if err == nil && len(expected) > 0 {
		var all []catalogue.Late
		all, err = b.catalogue.Late(ctx, expected, catalogue.DefaultLate, now)
		for _, l := range all {
			late[l.Cause]++
		}
	}
	if err != nil && ctx.Err() == nil {
		b.log.Warn("late devices not counted", slog.Any("err", err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at, m.expected, m.late = now, len(expected), late
}

func (s sheet) missing(m *absent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.gauge("beacon_fleet_expected_devices", "Devices that should report.", float64(m.expected))
	for _, cause := range catalogue.Causes {
		s.gauge("beacon_fleet_late_devices", "Of these, without an inventory for 50 hours, by cause; counted every 5 minutes.", float64(m.late[cause]), "cause", string(cause))
	}
}
