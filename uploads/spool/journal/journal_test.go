package journal_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
)

// A builder writes a segment the way the spool does.
type builder struct {
	journal.Header
	b    []byte
	next uint64
}

func build(generation, base uint64) *builder {
	h := journal.Header{Counter: 2, Generation: generation, State: journal.Active, Capacity: 1 << 20, Base: base}
	return &builder{Header: h, b: h.Encode(), next: base}
}

// add appends a record as a group of its own.
func (b *builder) add(typ journal.Type, mark uint64, meta, body []byte) journal.Record {
	r := journal.Record{
		Type: typ, Generation: b.Generation, Offset: journal.AlignPage(int64(len(b.b))),
		Seq: b.next, Count: 1, Mark: mark, Meta: meta, BodyLen: int64(len(body)), Intact: true,
	}
	raw := slices.Concat(make([]byte, journal.RecordHeader), meta, body)
	r.PutHeader(raw)
	b.b = append(b.b, make([]byte, int(r.Offset)-len(b.b))...)
	b.b = append(b.b, raw...)
	b.next++
	return r
}

func (b *builder) segment() journal.Segment {
	return journal.Segment{Header: b.Header, Records: journal.Scan(bytes.NewReader(b.b), b.Header, int64(len(b.b)))}
}

func (b *builder) garble(at int64) { b.b[at] ^= 0xff }

func TestHeaderSurvivesTornWrite(t *testing.T) {
	old := journal.Header{Version: journal.Version, Counter: 6, Generation: 1, Capacity: 1 << 20}
	fresh := journal.Header{Version: journal.Version, Counter: 7, Generation: 2, State: journal.Active, Capacity: 1 << 20, Base: 9, Prev: 3}
	mixed := append(fresh.Encode()[:journal.Page:journal.Page], old.Encode()[journal.Page:]...)
	broken := fresh.Encode()
	broken[3] ^= 1
	for _, tt := range []struct {
		name string
		b    []byte
		want journal.Header
		torn bool
		err  error
	}{
		{"whole", fresh.Encode(), fresh, false, nil},
		{"first copy only", mixed, fresh, true, nil},
		{"second copy only", append(old.Encode()[:journal.Page:journal.Page], fresh.Encode()[journal.Page:]...), fresh, true, nil},
		{"first copy damaged", broken, fresh, true, nil},
		{"short", fresh.Encode()[:100], journal.Header{}, false, journal.ErrForeign},
		{"zeros", make([]byte, journal.Start), journal.Header{}, false, journal.ErrForeign},
	} {
		h, torn, err := journal.DecodeHeader(tt.b)
		if h != tt.want || torn != tt.torn || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v, %v", tt.name, h, torn, err)
		}
	}
	newer := fresh.Encode()
	newer[journal.Page+8]++
	if _, _, err := journal.DecodeHeader(newer); !errors.Is(err, journal.ErrNewer) {
		t.Errorf("newer: %v", err)
	}
}

func TestMetadataRoundTrips(t *testing.T) {
	n, err := uploads.ParseName("system on hôst at 20260102T030405.ndi.gz")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	full := journal.Upload{Blob: "blobs/x.blob", Upload: uploads.Upload{
		Seq: 7, Kind: "Inventories", Name: n, Device: uploads.Device{Name: "hôst", Domain: "D"}, AgentID: "id",
		Digest: uploads.Digest{1, 2}, Size: 1 << 40, Received: at, Modified: at.Add(-time.Hour),
		Beacon: "b", Via: []string{"x", "y"}, Peer: "192.0.2.1:99", Recovered: true, Released: true,
	}}
	least := journal.Upload{Upload: uploads.Upload{Seq: 8, Kind: "K", Name: n}}
	names := cmpopts.EquateComparable(uploads.Name{})
	for _, u := range []journal.Upload{full, least} {
		got, err := journal.DecodeUpload(journal.AppendUpload(nil, &u, false), u.Seq)
		if err != nil || cmp.Diff(&u, got, names) != "" {
			t.Errorf("%v\n%s", err, cmp.Diff(&u, got, names))
		}
		if got, err = journal.DecodeUpload(journal.AppendUpload(nil, &u, true), 99); err != nil || got.Seq != u.Seq {
			t.Errorf("copy has number %d (%v), want %d", got.Seq, err, u.Seq)
		}
	}
	marks := []*journal.Mark{
		{Seq: 1, Event: 50, At: at, Sink: "s3", Left: true, Custody: []uploads.Custody{{Level: "store", Beacon: "b", At: at}}},
		{Seq: 2, Event: 51, At: at, Reason: "damaged", Detail: "rot", Through: 9},
	}
	var b []byte
	for _, m := range marks {
		b = journal.AppendMark(b, m)
	}
	got, err := journal.DecodeMarks(b, 0)
	if err != nil || cmp.Diff(marks, got) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(marks, got))
	}
}

func TestIndexAgreesWithScan(t *testing.T) {
	s := build(5, 10)
	for i := range 20 {
		s.add(journal.TypeUpload, s.next-1, []byte("meta"), make([]byte, i*300))
	}
	want := s.segment().Records
	at := journal.AlignPage(int64(len(s.b)))
	sealed := &file{slices.Concat(s.b, make([]byte, int(at)-len(s.b)))}
	n, footer, err := journal.WriteIndex(sealed, s.Header, slices.Values(want), at)
	if err != nil {
		t.Fatal(err)
	}
	sealed.WriteAt(footer, at+journal.AlignPage(n))
	checkIndex(t, s, sealed.b, want)
}

// A file is one in memory.
type file struct{ b []byte }

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	if end := int(at) + len(b); end > len(f.b) {
		f.b = append(f.b, make([]byte, end-len(f.b))...)
	}
	return copy(f.b[at:], b), nil
}

func checkIndex(t *testing.T, s *builder, sealed []byte, want []journal.Record) {
	t.Helper()
	got, ok := journal.ReadIndex(bytes.NewReader(sealed), s.Header, int64(len(sealed)))
	if !ok || cmp.Diff(want, got) != "" {
		t.Errorf("%v %s", ok, cmp.Diff(want, got))
	}
	for _, at := range []int{0, 9, 17, 25, 33, 49} {
		bad := slices.Clone(sealed)
		bad[len(bad)-journal.Page+at] ^= 1
		if _, ok := journal.ReadIndex(bytes.NewReader(bad), s.Header, int64(len(bad))); ok {
			t.Errorf("footer damaged at %d is believed", at)
		}
	}
	other := s.Header
	other.Generation++
	if _, ok := journal.ReadIndex(bytes.NewReader(sealed), other, int64(len(sealed))); ok {
		t.Error("an index of an earlier life is believed")
	}
	x, ok := journal.OpenIndex(bytes.NewReader(sealed), s.Header, int64(len(sealed)))
	if !ok {
		t.Fatal("index not found")
	}
	if sum, ok := x.Summary(); !ok || sum.Records != len(want) || sum.Last != want[len(want)-1].Last() {
		t.Errorf("summary %+v, %v", sum, ok)
	}
	var walked []journal.Record
	for r := range journal.Walk(bytes.NewReader(s.b), s.Header, int64(len(s.b))) {
		r.Meta = bytes.Clone(r.Meta)
		walked = append(walked, r)
	}
	if cmp.Diff(want, walked) != "" {
		t.Errorf("walk %s", cmp.Diff(want, walked))
	}
}

// TestGlanceAgreesWithUpload, whatever is set.
func TestGlanceAgreesWithUpload(t *testing.T) {
	n, _ := uploads.ParseName("Ünite at 20260101T000000.ndi.gz")
	u := journal.Upload{Blob: "blobs/x.blob"}
	u.Upload = uploads.Upload{
		Seq: 300, Kind: "Inventories", Name: n, Device: uploads.Device{Domain: "D", Name: "h"}, AgentID: "a",
		Digest: uploads.DigestOf([]byte("x")), Size: 1 << 40, Received: time.UnixMilli(1234567).UTC(), Beacon: "b",
		Via: []string{"leaf", "hub"}, Peer: "192.0.2.1", Recovered: true, Released: true,
	}
	for _, isCopy := range []bool{true, false} {
		var g journal.Glance
		if err := g.Look(journal.AppendUpload(nil, &u, isCopy), 7); err != nil {
			t.Fatal(err)
		}
		want := journal.Glance{
			Seq: 7, Kind: []byte("Inventories"), Name: []byte(n.String()), Device: []byte("h"), Domain: []byte("D"),
			Peer: []byte("192.0.2.1"), LastVia: []byte("hub"), Digest: u.Digest[:], Blob: []byte("blobs/x.blob"),
			Size: 1 << 40, Received: 1234567,
		}
		if isCopy {
			want.Seq = 300
		}
		if d := cmp.Diff(want, g); d != "" {
			t.Error(d)
		}
	}
	var g journal.Glance
	for _, bad := range [][]byte{nil, {1}, {1, 200}, journal.AppendMark(nil, &journal.Mark{Seq: 1})} {
		if err := g.Look(bad, 1); err == nil {
			t.Errorf("%x is an upload: %+v", bad, g)
		}
	}
}

// TestPlaceHoldsOneRecord: what is there is it, or damaged.
func TestPlaceHoldsOneRecord(t *testing.T) {
	s := build(5, 10)
	s.add(journal.TypeUpload, 10, []byte("meta"), []byte("body"))
	r := s.segment().Records[0]
	raw := s.b[r.Offset:][:journal.RecordHeader+8]
	at := journal.Place{Generation: r.Generation, Offset: r.Offset}
	got, body, err := at.Whole(raw)
	if err != nil || string(body) != "body" || string(got.Meta) != "meta" || got.Seq != 10 {
		t.Fatalf("%+v %q %v", got, body, err)
	}
	if got, err := at.Head(raw[:journal.RecordHeader+4]); err != nil || string(got.Meta) != "meta" {
		t.Errorf("%+v %v", got, err)
	}
	for i := range raw {
		bad := slices.Clone(raw)
		bad[i] ^= 1
		if _, _, err := at.Whole(bad); err == nil {
			t.Errorf("damage at %d is not noticed", i)
		}
		if _, err := at.Head(bad); (err == nil) != (i >= journal.RecordHeader+4 || i >= 60 && i < 64) {
			t.Errorf("damage at %d: %v", i, err)
		}
	}
	if _, err := (journal.Place{Generation: r.Generation + 1, Offset: r.Offset}).Head(raw); err == nil {
		t.Error("a record of another life is taken")
	}
	if _, _, err := at.Whole(raw[:len(raw)-1]); err == nil {
		t.Error("half a record is taken")
	}
}

func seqs(records []journal.Record) (out []uint64) {
	for _, r := range records {
		out = append(out, r.Seq)
	}
	return out
}

func TestReplayRules(t *testing.T) {
	type rule struct {
		name  string
		build func() []journal.Segment
		check func(t *testing.T, v journal.Verdict)
	}
	upload := func(s *builder, n int) {
		for range n {
			s.add(journal.TypeUpload, s.next-1, []byte("m"), make([]byte, 100))
		}
	}
	one := func(change func(*builder)) func() []journal.Segment {
		return func() []journal.Segment {
			s := build(1, 1)
			upload(s, 5)
			change(s)
			return []journal.Segment{s.segment()}
		}
	}
	for _, r := range []rule{
		{"nothing", func() []journal.Segment { return nil }, func(t *testing.T, v journal.Verdict) {
			if !v.Clean || v.Next != 1 {
				t.Errorf("%+v", v)
			}
		}},
		{"last group is a tail", one(func(*builder) {}), func(t *testing.T, v journal.Verdict) {
			if !slices.Equal(seqs(v.Kept), []uint64{1, 2, 3, 4}) || !slices.Equal(seqs(v.Tail), []uint64{5}) || v.Mark != 4 ||
				!slices.Equal(v.Cuts, []journal.Cut{{Generation: 1, First: 5}}) || v.Clean {
				t.Errorf("%+v", v)
			}
		}},
		{"closed is clean", one(func(s *builder) { s.add(journal.TypeClose, 5, nil, nil) }), func(t *testing.T, v journal.Verdict) {
			if !v.Clean || len(v.Kept) != 6 || len(v.Tail)+len(v.Cuts) > 0 || v.Next != 7 {
				t.Errorf("%+v", v)
			}
		}},
		{"damaged body at the mark is a loss", one(func(s *builder) { s.garble(journal.Start + 3*journal.Page + 100) }), func(t *testing.T, v journal.Verdict) {
			if len(v.Lost) != 1 || v.Lost[0].First != 4 || v.Lost[0].Record == nil || !slices.Equal(seqs(v.Tail), []uint64{5}) {
				t.Errorf("%+v", v)
			}
		}},
		{"damaged header below the mark is a loss without a name", one(func(s *builder) { s.garble(journal.Start + journal.Page + 8) }), func(t *testing.T, v journal.Verdict) {
			if len(v.Lost) != 1 || v.Lost[0].First != 2 || v.Lost[0].Last != 2 || v.Lost[0].Record != nil {
				t.Errorf("%+v", v)
			}
		}},
		{"damage above the mark is cut", one(func(s *builder) { s.garble(journal.Start + 4*journal.Page + 100) }), func(t *testing.T, v journal.Verdict) {
			if len(v.Lost)+len(v.Tail) > 0 || !slices.Equal(v.Cuts, []journal.Cut{{Generation: 1, First: 5}}) {
				t.Errorf("%+v", v)
			}
		}},
		{"what is sound behind a cut is cut too", one(func(s *builder) {
			at := int64(len(s.b))
			s.add(journal.TypeUpload, 4, []byte("m"), nil)
			s.add(journal.TypeUpload, 4, []byte("m"), nil)
			s.garble(journal.AlignPage(at))
		}), func(t *testing.T, v journal.Verdict) {
			if len(v.Lost) > 0 || !slices.Equal(seqs(v.Tail), []uint64{5}) {
				t.Errorf("%+v", v)
			}
		}},
		{"missing end of a segment that another followed is a loss", func() []journal.Segment {
			a, b := build(1, 1), build(2, 6)
			upload(a, 5)
			a.garble(journal.Start + 4*journal.Page + 8)
			b.Prev = 1
			upload(b, 2)
			return []journal.Segment{b.segment(), a.segment()}
		}, func(t *testing.T, v journal.Verdict) {
			if len(v.Lost) != 1 || v.Lost[0].First != 5 || v.Lost[0].Generation != 1 {
				t.Errorf("%+v", v)
			}
		}},
		{"nothing inside a recorded cut is a loss", func() []journal.Segment {
			a, b := build(1, 1), build(2, 100)
			upload(a, 5)
			a.garble(journal.Start + 3*journal.Page + 8)
			a.garble(journal.Start + 4*journal.Page + 100)
			b.Prev = 1
			b.add(journal.TypeCut, 3, journal.AppendCut(nil, journal.Cut{Generation: 1, First: 4}), nil)
			upload(b, 2)
			return []journal.Segment{a.segment(), b.segment()}
		}, func(t *testing.T, v journal.Verdict) {
			if len(v.Lost) > 0 || !slices.Equal(seqs(v.Kept), []uint64{1, 2, 3, 100, 101}) || v.Next <= 102 {
				t.Errorf("%+v", v)
			}
		}},
		{"but what is missing before a recorded cut is", func() []journal.Segment {
			a, b := build(1, 1), build(2, 100)
			upload(a, 5)
			a.garble(journal.Start + 2*journal.Page + 8)
			b.Prev = 1
			b.add(journal.TypeCut, 3, journal.AppendCut(nil, journal.Cut{Generation: 1, First: 4}), nil)
			upload(b, 2)
			return []journal.Segment{a.segment(), b.segment()}
		}, func(t *testing.T, v journal.Verdict) {
			if len(v.Lost) != 1 || v.Lost[0].First != 3 || v.Lost[0].Last != 3 {
				t.Errorf("%+v", v)
			}
		}},
		{"a void is no hole", one(func(s *builder) {
			r := s.add(journal.TypeUpload, 5, []byte("m"), make([]byte, 3000))
			copy(s.b[r.Offset:], r.EncodeVoid())
			s.b = s.b[:r.Offset+journal.RecordHeader]
			upload(s, 2)
		}), func(t *testing.T, v journal.Verdict) {
			if len(v.Lost) > 0 || len(v.Kept) != 7 || v.Kept[5].Type != journal.TypeVoid {
				t.Errorf("%+v", v)
			}
		}},
	} {
		t.Run(r.name, func(t *testing.T) { r.check(t, journal.Replay(r.build())) })
	}
}

// FuzzScan feeds a scan whatever a disk may hold: it ends, and finds no record
// that its checksum does not cover.
func FuzzScan(f *testing.F) {
	s := build(3, 1)
	s.add(journal.TypeUpload, 0, []byte("meta"), make([]byte, 700))
	s.add(journal.TypeMarks, 1, []byte("meta"), nil)
	f.Add(s.b[journal.Start:])
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(s.Encode(), b...)
		h, _, err := journal.DecodeHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		for _, r := range journal.Scan(bytes.NewReader(b), h, int64(len(b))) {
			if r.Offset < last || r.Type != journal.TypeVoid && r.End() > journal.AlignBlock(int64(len(b))) {
				t.Fatalf("record at %d to %d of %d", r.Offset, r.End(), len(b))
			}
			last = r.Offset
			if !r.Intact || r.Type == journal.TypeVoid {
				continue
			}
			if _, _, err := (journal.Place{Generation: r.Generation, Offset: r.Offset}).Whole(b[r.Offset : r.BodyOffset()+r.BodyLen]); err != nil {
				t.Fatal(err)
			}
			journal.DecodeUpload(r.Meta, r.Seq)
			journal.DecodeMarks(r.Meta, r.Seq)
			journal.DecodeCut(r.Meta)
		}
		journal.ReadIndex(bytes.NewReader(b), h, int64(len(b)))
	})
}

// FuzzMetadata feeds the decoders what a sound checksum may cover.
func FuzzMetadata(f *testing.F) {
	n, _ := uploads.ParseName("f.ndi")
	u := journal.Upload{Upload: uploads.Upload{Kind: "K", Name: n, Size: 5, Via: []string{"x"}}}
	f.Add(journal.AppendUpload(nil, &u, true))
	f.Add(journal.AppendMark(nil, &journal.Mark{Seq: 1, Sink: "s", Custody: []uploads.Custody{{Level: "store"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, err := journal.DecodeUpload(b, 1); err == nil {
			again, err := journal.DecodeUpload(journal.AppendUpload(nil, u, true), 1)
			if err != nil || again.Name != u.Name || again.Digest != u.Digest {
				t.Fatalf("%+v, then %+v (%v)", u, again, err)
			}
		}
		journal.DecodeMarks(b, 1)
		journal.DecodeCut(b)
	})
}
