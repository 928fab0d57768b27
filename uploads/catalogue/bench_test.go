package catalogue

import (
	"fmt"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/spool"
)

// What one accepted and delivered upload costs behind its acknowledgement.
func BenchmarkIndex(b *testing.B) {
	for _, devices := range []int{10, 20_000} {
		b.Run(fmt.Sprint("devices=", devices), func(b *testing.B) {
			j := newJournal()
			var accepted []Event
			for i := range 20_000 {
				d := uploads.Device{Domain: "EXAMPLE", Name: fmt.Sprint("pc", i%devices)}
				accepted = append(accepted, j.put("Inventories", fmt.Sprintf("pc%d at 20261122T080000 (%d).ndi.gz", i%devices, i), d, from(fmt.Sprintf("10.0.%d.%d", i%200, i%250))))
			}
			for _, e := range accepted {
				j.add(Event{What: spool.Delivered, Upload: e.Upload, Sink: "disk", Left: true})
			}
			for b.Loop() {
				c, err := Open(b.Context(), b.TempDir()+"/catalog.db", Options{})
				if err != nil {
					b.Fatal(err)
				}
				if err := c.CatchUp(b.Context(), j); err != nil {
					b.Fatal(err)
				}
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(accepted)), "µs/upload")
		})
	}
}

// What it costs to say who of a large fleet is late: of devices that call this
// beacon, and of those that others told of.
func BenchmarkLate(b *testing.B) {
	const devices = 200_000
	now := time.Now().UTC()
	expected := make([]uploads.Device, devices)
	for i := range expected {
		expected[i] = uploads.Device{Domain: "EXAMPLE", Name: fmt.Sprintf("pc%06d", i)}
	}
	for name, fill := range map[string]func(*testing.B, *Catalogue, []uploads.Device, time.Time){"own": fillOwn, "told": fillTold} {
		b.Run(name, func(b *testing.B) {
			c, err := Open(b.Context(), b.TempDir()+"/catalog.db", Options{Beacon: "centre", DevicesPerChild: devices, DevicesPerPeer: devices})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			fill(b, c, expected, now)
			for b.Loop() {
				late, err := c.Late(b.Context(), expected, time.Hour, now)
				if err != nil || len(late) != devices/2 {
					b.Fatalf("%d late, %v", len(late), err)
				}
			}
		})
	}
}

// lateBy is when the inventory of every other device is too old.
func lateBy(i int, now time.Time) time.Time { return now.Add(-time.Duration(i%2) * 48 * time.Hour) }

func fillOwn(b *testing.B, c *Catalogue, expected []uploads.Device, now time.Time) {
	b.Helper()
	if err := c.write(b.Context(), func(t *batch) error {
		for i, d := range expected {
			domain, name := keys(d)
			for _, s := range []struct {
				text string
				args []any
			}{
				{`INSERT INTO devices VALUES (?,?,?,?,?,?,?,1,1,'192.0.2.1')`, []any{i + 1, d.Domain, d.Name, domain, name, millis(now), millis(now)}},
				{`INSERT INTO activity VALUES (?,'Inventories',1,1,?,1),(?1,'Logs',1,1,?3,1),(?1,'UsageData',1,1,?3,1)`, []any{i + 1, millis(lateBy(i, now)), millis(now)}},
				{`INSERT INTO contacts VALUES (?1,?1,?2,?3,?4,?5,?6,'','',?7,?7,1,'192.0.2.1','1.4.0',42,'',0,0,'',?7,200,'','',0,0,'','')`,
					[]any{i + 1, d.Domain, d.Name, domain, name, fmt.Sprintf("%032x", i), millis(now)}},
			} {
				if _, err := t.exec(s.text, s.args...); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

func fillTold(b *testing.B, c *Catalogue, expected []uploads.Device, now time.Time) {
	b.Helper()
	var devices []fleet.Device
	for i, d := range expected {
		devices = append(devices, fleet.Device{
			Name: d.Name, Domain: d.Domain, AgentID: fmt.Sprintf("%032x", i), Seen: now, Address: "192.0.2.1", Version: "1.4.0", Revision: 42,
			Policy: &fleet.Answer{At: now, Status: 200}, Uploads: map[string]time.Time{"Inventories": lateBy(i, now), "Logs": now, "UsageData": now},
		})
	}
	by := Teller{Beacon: "leaf", Child: "leaf"}
	if err := c.TellBeacon(b.Context(), by, fleet.Beacon{Beacon: "leaf", At: now}, now); err != nil {
		b.Fatal(err)
	}
	if dropped, err := c.TellDevices(b.Context(), by, now, devices); err != nil || dropped > 0 {
		b.Fatal(dropped, err)
	}
}
