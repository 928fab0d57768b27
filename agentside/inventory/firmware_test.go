package inventory

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func memoryDevice(length byte, size uint16, extended uint32) []byte {
	b := make([]byte, 0x22)
	b[0], b[1], b[0x10] = 17, length, 1
	binary.LittleEndian.PutUint16(b[0x0c:], size)
	binary.LittleEndian.PutUint32(b[0x1c:], extended)
	return append(b[:length:length], "A1\x00\x00"...)
}

func TestMemoryDeviceSizes(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"megabytes":             {memoryDevice(0x22, 8192, 0), "8589934592"},
		"kilobytes":             {memoryDevice(0x22, 0x8000|512, 0), "524288"},
		"extended":              {memoryDevice(0x22, 0x7fff, 65536), "68719476736"},
		"old firmware":          {memoryDevice(0x15, 1024, 0), "1073741824"},
		"extended, but too old": {memoryDevice(0x15, 0x7fff, 0), ""},
		"empty socket":          {memoryDevice(0x22, 0, 0), ""},
		"unknown size":          {memoryDevice(0x22, 0xffff, 0), ""},
		"cut":                   {memoryDevice(0x22, 8192, 0)[:0x20], ""},
		"another type":          {append([]byte{16}, memoryDevice(0x22, 8192, 0)[1:]...), ""},
		"nothing":               {nil, ""},
	} {
		h, ok := parseMemoryDevice(c.raw)
		if ok != (c.want != "") || ok && (h.Properties[0].Value != c.want || h.Name != "A1") {
			t.Errorf("%s: got %+v, want %q", name, h, c.want)
		}
	}
}

func FuzzMemoryDevice(f *testing.F) {
	raw, err := os.ReadFile(filepath.Join(fixtures, "debian12/sys/firmware/dmi/entries/17-0/raw"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(memoryDevice(0x15, 0x7fff, 0))
	f.Fuzz(func(t *testing.T, b []byte) { parseMemoryDevice(b) })
}

func TestFirmwareFactThatCannotBeReadIsAnError(t *testing.T) {
	root := t.TempDir()
	place(t, root, dmiDir+"/sys_vendor", "Example\n")
	h := newHost(root, Identity{})
	if f, err := collectFirmware(t.Context(), h); err != nil || len(f.Hardware) != 1 {
		t.Errorf("got %+v, %v", f, err)
	}
	// A directory in its place cannot be read, by root either.
	if err := os.Mkdir(filepath.Join(root, dmiDir, "product_serial"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := collectFirmware(t.Context(), h)
	if err == nil || !strings.Contains(err.Error(), "product_serial") || len(f.Hardware) != 1 {
		t.Errorf("got %+v, %v", f, err)
	}
}
