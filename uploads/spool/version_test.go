package spool_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
)

// asVersion1 rewrites a spool that holds nothing newer as version 1 wrote it.
func asVersion1(m *disktest.Memory) {
	m.Put("version", []byte("1\n"))
	m.Delete("reserve")
	for _, name := range m.Names() {
		if !strings.HasSuffix(name, ".seg") {
			continue
		}
		head := bytes.Clone(m.Contents(name)[:64])
		binary.LittleEndian.PutUint32(head[8:], 1)
		binary.LittleEndian.PutUint32(head[60:], crc32.Checksum(head[:60], crc32.MakeTable(crc32.Castagnoli)))
		m.Garble(name, 0, head)
		m.Garble(name, journal.Page, head)
	}
}

// TestVersion1IsTakenOver: what it holds is kept, older programs are told that
// it is not theirs any longer, and nothing that they would misread is written
// where they looked.
func TestVersion1IsTakenOver(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 5, 3000)
	first, _, _ := s.Place(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	asVersion1(m)
	old := m.Contents(first)
	s = onMemory(t, m, small())
	if got := string(m.Contents("version")); got != "2\n" || !s.Recovery().Clean {
		t.Errorf("version %q, recovery %+v", got, s.Recovery())
	}
	expect(t, s, ids)
	if err := s.Flag(1, "odd"); err != nil {
		t.Fatal(err)
	}
	if err := s.Learn(kind, name(t, ids[1].Name), ids[1].SHA256, []uploads.Custody{{Level: uploads.LevelStore, Beacon: "top"}}); err != nil {
		t.Fatal(err)
	}
	if now := m.Contents(first); !bytes.HasPrefix(now, old[:len(old)-journal.Block]) || len(now) != len(old) && now[8] == 1 && s.Stats().Segments == 1 {
		t.Errorf("the old segment was written to")
	}
	s = onMemory(t, m.Kill(), small())
	if got := events(t, s, spool.Flagged); len(got) != 1 {
		t.Errorf("flags %+v", got)
	}
	expect(t, s, ids)
}
