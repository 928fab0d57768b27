package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// A tumult is everything that can be asked of a spool, at once.
type tumult struct {
	t    *testing.T
	s    *spool.Spool
	m    *disktest.Memory
	mu   sync.Mutex
	sent []uploads.Receipt
	over atomic.Bool
}

// TestSpoolAnswersInATumult: segments of the smallest size are freed and used
// again all the time while files come, are told of, asked for, and leave in every
// way there is. No answer is an error, and in the end every file is held, was
// delivered or is a recorded loss.
func TestSpoolAnswersInATumult(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := spool.Options{SegmentBytes: 64 << 10, Beacon: "b1", Sinks: modelSinks, Recycle: seed%2 == 0, Spares: 2}
			m := disktest.NewMemory()
			x := &tumult{t: t, m: m, s: onMemory(t, m, o)}
			var senders, others sync.WaitGroup
			for i := range 3 {
				senders.Go(func() { x.send(i, rand.New(rand.NewPCG(seed, uint64(i)))) })
			}
			for i, ask := range []func(*rand.Rand){x.deliver, x.deliver, x.settle, x.learn, x.read, x.list} {
				others.Go(func() {
					for r := rand.New(rand.NewPCG(seed, 100+uint64(i))); !x.over.Load() && !t.Failed(); {
						ask(r)
					}
				})
			}
			senders.Wait()
			x.over.Store(true)
			others.Wait()
			x.check()
			x.m = m.Cut(rand.New(rand.NewPCG(seed, 1)))
			x.s.Close()
			x.s = onMemory(t, x.m, o)
			if rec := x.s.Recovery(); len(rec.Lost)+rec.DamagedReceipts > 0 {
				t.Errorf("recovery %+v", rec)
			}
			x.check()
		})
	}
}

func (x *tumult) send(sender int, r *rand.Rand) {
	for i := range 120 {
		n, _ := uploads.ParseName(fmt.Sprintf("f%d.ndi", r.IntN(40)))
		body := content(sender/2*1000+i, []int{10, 700, 3000, 15000, 20000}[r.IntN(5)])
		d := spool.Draft{Kind: kind, Name: n, Length: -1}
		var got uploads.Receipt
		var err error
		if r.IntN(4) == 0 {
			part := fmt.Sprintf("unfinished/%d.part", sender)
			x.m.Put(part, body)
			got, err = x.s.Adopt(context.Background(), d, part)
		} else {
			got, err = x.s.Accept(context.Background(), d, bytes.NewReader(body))
		}
		if err != nil {
			x.t.Errorf("send: %v", err)
			return
		}
		x.mu.Lock()
		x.sent = append(x.sent, got)
		x.mu.Unlock()
	}
}

// expected lets pass that a file left before it was spoken of.
func (x *tumult) expected(what string, err error) {
	if err != nil && !errors.Is(err, uploads.ErrUnknown) {
		x.t.Errorf("%s: %v", what, err)
	}
}

func (x *tumult) deliver(r *rand.Rand) {
	sink := modelSinks[r.IntN(3)].Name
	var marks []spool.Mark
	for _, u := range x.s.Pending(sink, 0, 1+r.IntN(20)) {
		if r.IntN(5) > 0 {
			marks = append(marks, spool.Mark{Seq: u.Seq, Custody: []uploads.Custody{{Level: uploads.LevelStore, Beacon: sink}}})
		}
	}
	x.expected("deliver", x.s.Deliver(sink, marks))
}

func (x *tumult) settle(r *rand.Rand) {
	keys := x.s.Held(0, 50, nil)
	if len(keys) == 0 {
		return
	}
	seq := keys[r.IntN(len(keys))].Seq
	switch r.IntN(5) {
	case 0:
		x.expected("lose", x.s.Lose(seq, spool.LossOperator, "a test"))
	case 1:
		x.expected("refuse", x.s.Refuse(modelSinks[r.IntN(3)].Name, seq, "a test"))
	case 2:
		x.expected("supersede", x.s.Supersede(seq, "a test"))
	default:
		x.expected("flag", x.s.Flag(seq, fmt.Sprint("odd ", r.IntN(2))))
	}
}

// one draws a file that was sent.
func (x *tumult) one(r *rand.Rand) (uploads.Receipt, uploads.Name, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.sent) == 0 {
		return uploads.Receipt{}, uploads.Name{}, false
	}
	got := x.sent[r.IntN(len(x.sent))]
	n, err := uploads.ParseName(got.Name)
	return got, n, err == nil
}

func (x *tumult) learn(r *rand.Rand) {
	if got, n, ok := x.one(r); ok {
		who := []uploads.Custody{{Level: uploads.LevelParent, Beacon: fmt.Sprint("p", r.IntN(3))}}
		x.expected("learn", x.s.Learn(got.Kind, n, got.SHA256, who))
	}
}

func (x *tumult) read(r *rand.Rand) {
	if got, n, ok := x.one(r); ok {
		x.s.Find(got.Kind, n)
		if found, ok := x.s.FindExact(got.Kind, n, got.SHA256); ok && found.ID != got.ID {
			x.t.Errorf("asked for %s, found %s", got.ID, found.ID)
		}
	}
	for _, k := range x.s.Held(0, 1+r.IntN(5), nil) {
		if b, err := x.s.Body(k.Seq); err == nil {
			b.Close()
		} else {
			x.expected("body", err)
		}
	}
}

func (x *tumult) list(*rand.Rand) {
	last := uint64(0)
	for e, err := range x.s.Events(0) {
		if err != nil || e.Seq <= last || e.Upload.Kind == "" {
			x.t.Errorf("event %+v after %d: %v", e, last, err)
			return
		}
		last = e.Seq
	}
	if _, err := x.s.Losses(0, 10); err != nil {
		x.t.Errorf("losses: %v", err)
	}
	x.s.Stats()
}

// check follows every file through the events.
func (x *tumult) check() {
	x.s.WaitTidy()
	held := map[uint64]bool{}
	for _, k := range x.s.Held(0, 1<<20, nil) {
		held[k.Seq] = true
	}
	left, lost := map[uint64]bool{}, map[uint64]bool{}
	known := map[string][]uint64{}
	for e, err := range x.s.Events(0) {
		if err != nil {
			x.t.Fatal(err)
		}
		seq := e.Upload.Seq
		if e.What == spool.Accepted {
			known[e.Upload.Receipt().ID] = append(known[e.Upload.Receipt().ID], seq)
		}
		if e.Left && left[seq] {
			x.t.Errorf("%d left twice", seq)
		}
		left[seq] = left[seq] || e.Left
		lost[seq] = lost[seq] || e.What == spool.Lost
	}
	for _, got := range x.sent {
		seqs := known[got.ID]
		if len(seqs) == 0 || slices.ContainsFunc(seqs, func(seq uint64) bool { return held[seq] == left[seq] }) {
			x.t.Errorf("%s: numbers %v, neither held nor gone, or both", got.ID, seqs)
			continue
		}
		n, _ := uploads.ParseName(got.Name)
		_, found := x.s.FindExact(got.Kind, n, got.SHA256)
		if alive := slices.ContainsFunc(seqs, func(seq uint64) bool { return !lost[seq] }); found != alive {
			x.t.Errorf("%s: found %v, numbers %v", got.ID, found, seqs)
		}
	}
}
