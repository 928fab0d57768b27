package catalogue

import (
	"fmt"
	"testing"

	"inventorybeacon/uploads"
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
