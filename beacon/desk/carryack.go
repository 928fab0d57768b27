package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/archive"
	"inventorybeacon/uploads/spool"
)

var errAckStopped = errors.New("the beacon is not running: start it, then import the acknowledgement: what it settles is known to a running beacon alone")

// acksAtOnce are recorded together. More need fewer records; a running relay
// waits for each.
const acksAtOnce = 256

// importAck counts the files that another beacon has durably as delivered, to the
// destination that they were exported for, else to all that they waited for.
func (d *Desk) importAck(ctx context.Context, f io.ReadSeeker, in Import, id Identity, said *told) error {
	if d.deliver == nil {
		return errAckStopped
	}
	a, err := archive.OpenAck(f, in.trusted())
	if err != nil {
		return err
	}
	if a.Header.From != id.Name {
		return fmt.Errorf("it acknowledges what the beacon %q exported, and this one is %q", a.Header.From, id.Name)
	}
	s, err := d.spool()
	if err != nil {
		return err
	}
	if err := said.say(ImportStep{Stage: ImportChecked, Of: a.Manifest.Files}, true); err != nil {
		return err
	}
	out := Imported{From: a.Header.Beacon, Files: a.Manifest.Files, Refused: []RefusedFile{}, Acknowledgement: true}
	custody := []uploads.Custody{{Level: uploads.LevelParent, Beacon: a.Header.Beacon, At: a.Header.Created}}
	var part []uint64
	settle := func() error {
		err := d.settle(s, a.Header.Sink, part, custody)
		part = part[:0]
		return err
	}
	done := 0
	for h, err := range a.Files() {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		done++
		if u, held := s.Lookup(h.Seq); held && archive.EntryOf(u).Receipt == h.Receipt && len(settles(s, h.Seq, a.Header.Sink)) > 0 {
			part = append(part, h.Seq)
			out.Delivered++
		} else {
			out.Gone++
		}
		if len(part) < acksAtOnce {
			continue
		}
		if err := settle(); err != nil {
			return err
		}
		if said.due(time.Now()) {
			if err := said.say(ImportStep{Done: done, Of: a.Manifest.Files}, true); err != nil {
				return err
			}
		}
	}
	if err := settle(); err != nil {
		return err
	}
	return said.say(ImportStep{Stage: ImportDone, Done: done, Of: done, Imported: &out}, true)
}

// settles are the destinations that an acknowledgement counts for, those first
// that nothing waits for: a file leaves with the last of the others.
func settles(s *spool.Spool, seq uint64, sink string) []spool.SinkName {
	out := s.Waiting(seq)
	if sink != "" {
		out = slices.DeleteFunc(out, func(n spool.SinkName) bool { return n.Name != sink })
	}
	slices.SortStableFunc(out, func(a, b spool.SinkName) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

func rank(n spool.SinkName) int {
	if n.Required {
		return 1
	}
	return 0
}

// settle records the deliveries of files.
func (d *Desk) settle(s *spool.Spool, sink string, seqs []uint64, custody []uploads.Custody) error {
	var order []spool.SinkName
	marks := map[string][]spool.Mark{}
	for _, seq := range seqs {
		for _, n := range settles(s, seq, sink) {
			if marks[n.Name] == nil {
				order = append(order, n)
			}
			marks[n.Name] = append(marks[n.Name], spool.Mark{Seq: seq, Custody: custody})
		}
	}
	slices.SortStableFunc(order, func(a, b spool.SinkName) int { return cmp.Compare(rank(a), rank(b)) })
	for _, n := range order {
		if err := d.deliver(n.Name, marks[n.Name]); err != nil {
			return err
		}
	}
	return nil
}
