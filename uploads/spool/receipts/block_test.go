package receipts

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
)

// entries are receipts of every shape.
func entries(t testing.TB, n int) (out []*Entry) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 5))
	for i := range n {
		name, err := uploads.ParseName(fmt.Sprintf("HOST-%07d at 20261122T101112.ndi.gz", r.IntN(1_000_000)))
		if err != nil {
			t.Fatal(err)
		}
		at := time.UnixMilli(1_790_000_000_000 + int64(i)*3600_000).UTC()
		e := &Entry{}
		e.Upload.Upload = uploads.Upload{
			Seq: uint64(3*i + 1), Kind: "Inventories", Name: name, Digest: uploads.DigestOf(fmt.Append(nil, i)), Size: r.Int64N(1 << 20),
			Device: uploads.Device{Name: name.Parts().Device, Domain: "EXAMPLE"}, AgentID: []string{"", "odd one", fmt.Sprintf("%032x", r.Uint64())}[r.IntN(3)],
			Received: at, Modified: at.Add(-time.Minute), Beacon: "b1", Peer: "192.0.2.17", Recovered: r.IntN(2) == 0, Released: r.IntN(2) == 0,
		}
		if r.IntN(2) == 0 {
			e.Upload.Via = []string{"b2", "b3"}
			e.Upload.Blob = "blobs/x.blob"
		}
		e.Marks = []*journal.Mark{{
			Seq: e.Upload.Seq, Event: e.Upload.Seq + 1, At: at.Add(time.Second), Sink: "up", Left: true,
			Custody: []uploads.Custody{{Level: uploads.LevelStore, Beacon: "b9", At: at}},
		}}
		switch r.IntN(8) {
		case 0:
			e.Marks[0] = &journal.Mark{Seq: e.Upload.Seq, Event: e.Upload.Seq + 1, At: at, Reason: "refused", Detail: "not XML", Left: true}
		case 1:
			e.Upload = journal.Upload{Upload: uploads.Upload{Seq: e.Upload.Seq}}
			e.Marks[0].Reason, e.Marks[0].Through = "damaged", e.Upload.Seq
		}
		out = append(out, e)
	}
	return out
}

func packed(all []*Entry) []byte {
	var records []record
	for _, e := range all {
		records = append(records, recordOf(e))
	}
	return appendBlock(nil, 7, records)
}

func TestBlockHoldsEverything(t *testing.T) {
	for n := range blockEntries + 1 {
		want := entries(t, n)
		b, ok := block(append(packed(want), "and what follows"...)).sound()
		if !ok || b.number() != 7 {
			t.Fatalf("%d entries: sound %v", n, ok)
		}
		records, err := b.records()
		if err != nil || len(records) != n {
			t.Fatalf("%d entries: %d, %v", n, len(records), err)
		}
		for i := range records {
			got, err := records[i].entry()
			if err != nil || !reflect.DeepEqual(got, want[i]) {
				t.Fatalf("got %+v, %v\nwant %+v", got, err, want[i])
			}
			if r := &records[i]; r.last != want[i].last() || (r.flags&recordLost != 0) != want[i].Lost() {
				t.Errorf("record %+v of %+v", r, want[i])
			}
		}
	}
}

func TestBlockIsNotSoundWithAnyBitChanged(t *testing.T) {
	good := packed(entries(t, 5))
	if _, ok := block(good).sound(); !ok {
		t.Fatal("not sound as it was written")
	}
	length := block(good).length() // what follows is padding
	for i := range length * 8 {
		b := append(block(nil), good...)
		b[i/8] ^= 1 << (i % 8)
		if got, ok := b.sound(); ok && len(got) == length {
			t.Fatalf("bit %d", i)
		}
	}
}

// FuzzBlock reads what only a checksum that fits by chance would let through.
func FuzzBlock(f *testing.F) {
	f.Add(packed(entries(f, 1)))
	f.Add(packed(entries(f, blockEntries)))
	f.Add(packed(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < blockHeader || binary.LittleEndian.Uint32(raw[20:]) > 1<<20 {
			return // it would be allocated, as a checksum says that it was written
		}
		b := block(raw)
		b.sound()
		records, err := b.records()
		if err != nil {
			return
		}
		for i := range records {
			if e, err := records[i].entry(); err == nil {
				recordOf(e)
			}
		}
	})
}

// FuzzRun opens anything as a run.
func FuzzRun(f *testing.F) {
	f.Add(packed(entries(f, 3)), 0, 0)
	asked := entries(f, 40)[:5]
	f.Fuzz(func(t *testing.T, raw []byte, at int, xor int) {
		run, err := garbled(t, raw, at, byte(xor))
		if err != nil {
			return
		}
		for _, e := range asked {
			run.findExact(keyedOf(e).id)
			run.find(keyedOf(e).id.Name)
		}
		if _, err := run.losses.after(0, 10); err != nil {
			t.Log(err)
		}
	})
}
