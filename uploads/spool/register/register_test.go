package register

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

func TestEntrySizeIsBounded(t *testing.T) {
	for _, size := range []uintptr{unsafe.Sizeof(Entry{}) * chunkSize, unsafe.Sizeof(Mark{}) * markBlock, unsafe.Sizeof(Sum{}) * sumBlock} {
		if size%4096 != 0 {
			t.Errorf("a block of %d bytes wastes part of a page", size)
		}
	}
	if n := unsafe.Sizeof(Entry{}); n > 88 {
		t.Errorf("an entry takes %d bytes", n)
	}
}

// TestRegisterAgreesWithMap does the same to a register and to a map, with so
// few hashes that they collide.
func TestRegisterAgreesWithMap(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r, model := New(), map[uint64]Entry{}
		next := uint64(1)
		for range 6000 {
			switch n := rng.IntN(10); {
			case n < 5 || len(model) == 0:
				next += 1 + rng.Uint64N(3)
				e := Entry{Seq: next, Name: rng.Uint32N(4) << 28, File: rng.Uint32N(64) << 26, Size: rng.Int64N(100)}
				if rng.IntN(20) == 0 {
					e.Flags = Nameless
				}
				model[next] = e
				r.Add(e)
			case n < 9:
				seqs := sorted(model)
				seq := seqs[rng.IntN(len(seqs))]
				if rng.IntN(2) == 0 {
					seq = seqs[0] // as spools do
				}
				ref, _ := r.Find(seq)
				r.Remove(ref)
				delete(model, seq)
			default:
				seq := next - rng.Uint64N(next)
				if _, ok := model[seq]; !ok && rng.IntN(20) == 0 {
					e := Entry{Seq: seq, Name: rng.Uint32N(4) << 28, File: rng.Uint32N(64) << 26}
					model[seq] = e
					r.Insert([]Entry{e})
				}
			}
			if rng.IntN(200) == 0 {
				check(t, r, model)
			}
		}
		check(t, r, model)
		for _, seq := range sorted(model) {
			ref, _ := r.Find(seq)
			r.Remove(ref)
			delete(model, seq)
		}
		check(t, r, model)
		if len(r.order) != 0 {
			t.Fatalf("an empty register has %d chunks", len(r.order))
		}
	}
}

func sorted(model map[uint64]Entry) (seqs []uint64) {
	for seq := range model {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	return seqs
}

func check(t *testing.T, r *Register, model map[uint64]Entry) {
	t.Helper()
	var got []uint64
	live := 0
	for ref, e := range r.From(0) {
		got = append(got, e.Seq)
		if want := model[e.Seq]; e.Name != want.Name || e.File != want.File || e.Size != want.Size || r.At(ref) != e {
			t.Fatalf("entry %+v, want %+v", e, want)
		}
	}
	if !slices.Equal(got, sorted(model)) || r.Len() != len(model) {
		t.Fatalf("holds %v, want %v", got, sorted(model))
	}
	for _, c := range r.chunks {
		if c != nil {
			live += c.live
		}
	}
	if live != len(model) {
		t.Fatalf("%d live, want %d", live, len(model))
	}
	names, files := map[uint32][]uint64{}, map[uint32][]uint64{}
	for _, seq := range slices.Backward(sorted(model)) {
		if e := model[seq]; !e.Is(Nameless) {
			names[e.Name] = append(names[e.Name], seq)
			files[e.File] = append(files[e.File], seq)
		}
	}
	for n := range uint32(4) {
		var chain []uint64
		for ref := r.Newest(n << 28); ref != 0; ref = r.Older(ref) {
			chain = append(chain, r.At(ref).Seq)
		}
		if !slices.Equal(chain, names[n<<28]) {
			t.Fatalf("name %d: %v, want %v", n, chain, names[n<<28])
		}
	}
	for n := range uint32(64) {
		var same []uint64
		for ref := range r.Files(n << 26) {
			same = append(same, r.At(ref).Seq)
		}
		slices.Sort(same)
		slices.Reverse(same)
		if !slices.Equal(same, files[n<<26]) {
			t.Fatalf("file %d: %v, want %v", n, same, files[n<<26])
		}
	}
}

// TestStragglersKeepLittle: one entry of many that stay behind must not keep
// the memory of the others.
func TestStragglersKeepLittle(t *testing.T) {
	r := New()
	for seq := range uint64(100_000) {
		r.Add(Entry{Seq: seq, Name: uint32(seq) * 2654435761, File: uint32(seq) * 2246822519})
	}
	for seq := range uint64(100_000) {
		if seq%100 != 0 {
			ref, _ := r.Find(seq)
			r.Remove(ref)
		}
	}
	if n := len(r.order); n > 4*1000/chunkSize+1 {
		t.Errorf("1,000 entries keep %d chunks", n)
	}
}

func TestMarksAgreeWithLists(t *testing.T) {
	var m Marks
	rng := rand.New(rand.NewPCG(1, 1))
	lists, model := make([]uint32, 50), make([][]uint64, 50)
	for event := range uint64(20000) {
		i := rng.IntN(len(lists))
		if rng.IntN(8) == 0 {
			m.Drop(lists[i])
			lists[i], model[i] = 0, nil
			continue
		}
		lists[i] = m.Append(lists[i], Mark{Event: event})
		model[i] = append(model[i], event)
	}
	for i, first := range lists {
		var got []uint64
		for k := range m.List(first) {
			got = append(got, k.Event)
		}
		if !slices.Equal(got, model[i]) {
			t.Fatalf("list %d: %v, want %v", i, got, model[i])
		}
	}
	if m.used > 5000 {
		t.Errorf("%d places were used", m.used)
	}
}

func TestSumsAgreeWithMap(t *testing.T) {
	s, model := NewSums(), map[uint64]Sum{}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50_000 {
		hash := rng.Uint64N(500) << 40 // so that the parts the table sees collide
		m := model[hash]
		files, bytes := int32(1), rng.Int64N(100)
		if m.Files > 0 && rng.IntN(2) == 0 {
			files, bytes = -m.Files, -m.Bytes
		}
		s.Add(hash, files, bytes)
		if m.Files, m.Bytes = m.Files+files, m.Bytes+bytes; m.Files == 0 {
			delete(model, hash)
		} else {
			model[hash] = m
		}
	}
	for i := range uint64(500) {
		got, want := s.Of(i<<40), model[i<<40]
		if got.Files != want.Files || got.Bytes != want.Bytes {
			t.Errorf("source %d: %+v, want %+v", i, got, want)
		}
	}
	if s.used > 501 {
		t.Errorf("%d places were used for 500 sources", s.used)
	}
}
