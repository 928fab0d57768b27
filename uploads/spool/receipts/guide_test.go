package receipts

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// guided makes a guide to files, which it sorts.
func guided(ids []FileID) guide {
	slices.SortFunc(ids, FileID.compare)
	w := &guideWriter{}
	for i, id := range ids {
		if i%blockEntries == 0 {
			w.addBlock(int64(i) * unit)
		}
		w.add(id)
	}
	g, rest := parseGuide(append(w.append(nil, int64(len(ids))*unit), "rest"...), len(ids))
	if string(rest) != "rest" {
		panic("it took " + fmt.Sprint(len(rest)))
	}
	return g
}

func randomFile(r *rand.Rand) (id FileID) {
	binary.BigEndian.PutUint64(id.Name[:], r.Uint64())
	binary.BigEndian.PutUint64(id.Digest[:], r.Uint64())
	return id
}

func TestGuideFindsAll(t *testing.T) {
	for name, next := range map[string]func(*rand.Rand, int) FileID{
		"evenly spread": func(r *rand.Rand, _ int) FileID { return randomFile(r) },
		"one name":      func(r *rand.Rand, _ int) FileID { return FileID{Digest: randomFile(r).Digest} },
		"the last name": func(r *rand.Rand, _ int) FileID {
			return FileID{NameID(bytes.Repeat([]byte{255}, 16)), randomFile(r).Digest}
		},
		"one file":        func(*rand.Rand, int) FileID { return FileID{} },
		"some names":      func(r *rand.Rand, i int) FileID { f := randomFile(r); f.Name = NameID{byte(i % 7 * 30)}; return f },
		"all of one half": func(r *rand.Rand, _ int) FileID { f := randomFile(r); f.Name[0] |= 128; return f },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			for _, n := range []int{0, 1, 2, 31, 32, 33, 255, 256, 257, 511, 1500} {
				ids := make([]FileID, n)
				for i := range ids {
					ids[i] = next(r, i)
				}
				g := guided(ids)
				for i, id := range ids {
					if from, to := g.name(id.Name); i < from || i >= to {
						t.Fatalf("%d of %d: its name is in [%d,%d)", i, n, from, to)
					}
					if from, to := g.file(id); i < from || i >= to {
						t.Fatalf("%d of %d: it is in [%d,%d)", i, n, from, to)
					}
				}
				if n > 0 && g.start(n/blockEntries) != int64(n/blockEntries*blockEntries)*unit && n%blockEntries != 0 {
					t.Errorf("block %d of %d is at %d", n/blockEntries, n, g.start(n/blockEntries))
				}
			}
		})
	}
}

// TestGuideIsSeldomWrong: names that are not there are taken for ones that are
// once in 256 times, files once in 4096; and it is small.
func TestGuideIsSeldomWrong(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ids := make([]FileID, 200_000)
	for i := range ids {
		ids[i] = randomFile(r)
	}
	g := guided(ids)
	names, files := 0, 0
	const asked = 200_000
	for range asked {
		id := randomFile(r)
		if from, to := g.name(id.Name); from < to {
			names++
		}
		if from, to := g.file(id); from < to {
			files++
		}
	}
	if share := float64(names) / asked; share > 1.1/256 {
		t.Errorf("names: %.5f", share)
	}
	if share := float64(files) / asked; share > 1.3/4096 {
		t.Errorf("files: %.5f", share)
	}
	if each := float64(g.bytes()) / float64(len(ids)); each > 1.95 {
		t.Errorf("%.3f bytes a receipt", each)
	}
}
