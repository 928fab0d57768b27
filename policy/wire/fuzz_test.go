package wire_test

import (
	"testing"

	"inventorybeacon/policy/wire"

	"github.com/google/go-cmp/cmp"
)

// FuzzRead feeds anything to every reader: none may panic or hang, and what
// the strict writers make of what was read must be read as the same.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"device.npl", "device-utf16.npl", "device-mislabelled.npl", "schedule.osd", "schedule.nds"} {
		f.Add(fixture(f, name))
	}
	for _, doc := range written(f) {
		f.Add(doc)
	}
	f.Add([]byte(`<!DOCTYPE a [`))
	f.Add([]byte(`<a b='&#x;&`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := wire.ReadPolicy(b); err == nil {
			again(t, p, wire.Policy.Bytes, wire.ReadPolicy)
		}
		if s, err := wire.ReadSettings(b); err == nil {
			again(t, s, wire.WriteSettings, wire.ReadSettings)
		}
		if l, err := wire.ReadFailover(b); err == nil {
			again(t, l, wire.WriteFailover, wire.ReadFailover)
		}
		if s, err := wire.ReadSchedule(b); err == nil {
			again(t, s, wire.Schedule.Bytes, wire.ReadSchedule)
		}
		if c, err := wire.ReadCatalogue(b); err == nil && c.Size >= 0 && c.Version != "" {
			again(t, c, wire.Catalogue.Bytes, wire.ReadCatalogue)
		}
	})
}

// again writes v and reads it back. A value that cannot be written is fine.
func again[V any](t *testing.T, v V, write func(V) ([]byte, error), read func([]byte) (V, error)) {
	t.Helper()
	b, err := write(v)
	if err != nil {
		return
	}
	got, err := read(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if d := cmp.Diff(v, got); d != "" {
		t.Errorf("%s\n%s", d, b)
	}
}
