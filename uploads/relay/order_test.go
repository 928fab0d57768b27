package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/relay"
)

// Whatever fails whenever, with any number of workers and any size of groups:
// every file arrives exactly once, those of one device and kind in the order
// they came, unless one was deferred; and no line has two files on their way.
func TestRelayKeepsOrderOfDeviceAndKind(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		files := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 40).Draw(rt, "lines")
		fails := rapid.SliceOfN(rapid.IntRange(0, 3), len(files), len(files)).Draw(rt, "failures") // with the outage, fewer than defer a file
		down := time.Duration(rapid.IntRange(0, 300).Draw(rt, "down")) * time.Second
		options := relay.Options{Workers: rapid.IntRange(1, 4).Draw(rt, "workers")}
		group := rapid.IntRange(1, 4).Draw(rt, "group")
		var left int
		var tries []try
		late := rapid.IntRange(0, len(files)).Draw(rt, "late")
		synctest.Test(t, func(t *testing.T) {
			q, s := newQueue(), &sink{group: group}
			s.do = func(u uploads.Upload) error {
				time.Sleep(time.Duration(u.Seq%3) * time.Second)
				s.mu.Lock()
				defer s.mu.Unlock()
				if time.Since(s.start) < down {
					return errDown
				}
				if n := &fails[u.Seq-1]; *n > 0 {
					*n--
					return errDown
				}
				return nil
			}
			add := func(from []int) {
				for i, line := range from {
					q.add(t, []string{"PC0", "PC1", "PC2"}[line%3], []string{"Logs", "Inventories"}[line/3], i)
				}
			}
			add(files[:late])
			run(t, q, s, options, time.Minute, func(*relay.Relay) {
				add(files[late:])
				time.Sleep(2 * time.Hour)
			})
			left, tries = q.left(), s.tries
		})
		if left != 0 {
			rt.Fatalf("%d left", left)
		}
		checkOrder(rt, tries, len(files))
	})
}

func checkOrder(rt *rapid.T, tries []try, files int) {
	type line struct{ device, kind string }
	newest := map[line]uint64{}
	passed := 0
	for _, try := range tries {
		if !try.ok {
			continue
		}
		passed++
		l := line{try.u.Device.Name, try.u.Kind}
		if try.u.Seq <= newest[l] {
			rt.Fatalf("%v: %d went after %d", l, try.u.Seq, newest[l])
		}
		newest[l] = try.u.Seq
	}
	if passed != files {
		rt.Fatalf("%d files arrived, want %d", passed, files)
	}
}
