package desk_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/uploadstest"
)

// A refusing is a stopped beacon whose destination took nothing.
type refusing struct {
	*testing.T
	dir     string
	receipt string
}

const badFile = "no inventory"

// opened gives f the stores of the beacon. Records tell milliseconds apart.
func (r *refusing) opened(f func(*spool.Spool, *quarantine.Store) error) {
	r.Helper()
	for began := time.Now(); time.Since(began) < 2*time.Millisecond; {
	}
	s, err := spool.Open(filepath.Join(r.dir, config.SpoolDir), spool.Options{Spares: -1, SegmentBytes: 1 << 20})
	if err != nil {
		r.Fatal(err)
	}
	q, err := quarantine.Open(filepath.Join(r.dir, config.QuarantineDir), quarantine.Options{})
	if err == nil {
		err = errors.Join(f(s, q), q.Close())
	}
	if err := errors.Join(err, s.Close()); err != nil {
		r.Fatal(err)
	}
}

// comes has the file arrive.
func (r *refusing) comes() {
	r.Helper()
	r.opened(func(s *spool.Spool, _ *quarantine.Store) error {
		name, err := uploads.ParseName("ws1 at 20260310T172738.ndi")
		if err != nil {
			return err
		}
		receipt, err := s.Accept(r.Context(), spool.Draft{Kind: "Inventories", Name: name, AgentID: "a1", Length: -1}, strings.NewReader(badFile))
		r.receipt = receipt.ID
		return err
	})
}

// refused has it quarantined.
func (r *refusing) refused() {
	r.Helper()
	for _, u := range r.list() {
		if u.State != catalogue.StateWaiting {
			continue
		}
		r.opened(func(s *spool.Spool, q *quarantine.Store) error {
			name, err := uploads.ParseName(u.Name)
			if err != nil {
				return err
			}
			up := uploads.Upload{Seq: u.Seq, Kind: u.Kind, Name: name, AgentID: u.AgentID, Digest: u.SHA256, Size: u.Bytes, Received: u.Received}
			return errors.Join(q.Keep(up, uploadstest.Body([]byte(badFile)), "centre", "415 bad-kind"), s.Lose(u.Seq, spool.LossRefused, "centre: 415 bad-kind"))
		})
	}
}

func (r *refusing) drop(by string) {
	r.Helper()
	r.opened(func(*spool.Spool, *quarantine.Store) error { return nil })
	if _, err := desk.DropQuarantined.Ask(r.Context(), r.dir, desk.Decision{Receipt: r.receipt, By: by}); err != nil {
		r.Fatal(err)
	}
}

func (r *refusing) release() {
	r.Helper()
	r.opened(func(*spool.Spool, *quarantine.Store) error { return nil })
	if _, err := desk.ReleaseQuarantined.Ask(r.Context(), r.dir, desk.Decision{Receipt: r.receipt, By: "root"}); err != nil {
		r.Fatal(err)
	}
}

func (r *refusing) list() []catalogue.Upload {
	r.Helper()
	found, err := desk.ListUploads.Ask(r.Context(), r.dir, catalogue.UploadFilter{})
	if err != nil {
		r.Fatal(err)
	}
	return found
}

func (r *refusing) sidecar() string {
	return filepath.Join(r.dir, config.QuarantineDir, r.receipt+".json")
}

func (r *refusing) reindex() {
	r.Helper()
	r.opened(func(*spool.Spool, *quarantine.Store) error { return nil })
	if err := desk.ReindexUploads.Ask(r.Context(), r.dir, struct{}{}, io.Discard); err != nil {
		r.Fatal(err)
	}
}

// The states of the file's uploads, the newest first, by how it came and went.
var refusals = map[string]struct {
	happens func(*refusing)
	want    []string // state, and how the detail ends
}{
	"dropped": {func(r *refusing) { r.comes(); r.refused(); r.drop("bob") }, []string{"lost by bob"}},
	"dropped and refused again": {func(r *refusing) {
		r.comes()
		r.refused()
		r.drop("bob")
		r.comes()
		r.refused()
	}, []string{"quarantined bad-kind", "lost by bob"}},
	"dropped twice": {func(r *refusing) {
		r.comes()
		r.refused()
		r.drop("bob")
		r.comes()
		r.refused()
		r.drop("eve")
		r.comes()
		r.refused()
	}, []string{"quarantined bad-kind", "lost by eve", "lost by bob"}},
	"dropped and waiting again": {func(r *refusing) {
		r.comes()
		r.refused()
		r.drop("bob")
		r.comes()
	}, []string{"waiting ", "lost by bob"}},
	"dropped, refused again and released": {func(r *refusing) {
		r.comes()
		r.refused()
		r.drop("bob")
		r.comes()
		r.refused()
		r.release()
	}, []string{"waiting ", "lost released from quarantine", "lost by bob"}},
	"released and refused again": {func(r *refusing) {
		r.comes()
		r.refused()
		r.release()
		r.refused()
	}, []string{"quarantined bad-kind", "lost released from quarantine"}},
	"released, refused again and dropped": {func(r *refusing) {
		r.comes()
		r.refused()
		r.release()
		r.refused()
		r.drop("bob")
	}, []string{"lost by bob", "lost released from quarantine"}},
	"refused twice in one stay": {func(r *refusing) {
		r.comes()
		r.refused()
		r.comes()
		r.refused()
	}, []string{"quarantined bad-kind", "quarantined bad-kind"}},
	"here, and nobody can read how": {func(r *refusing) {
		r.comes()
		r.refused()
		if err := os.WriteFile(r.sidecar(), []byte("{"), 0o600); err != nil {
			r.Fatal(err)
		}
	}, []string{"quarantined bad-kind"}},
}

func TestReindexTellsWhatLeftTheQuarantine(t *testing.T) {
	for name, tt := range refusals {
		t.Run(name, func(t *testing.T) {
			r := &refusing{T: t, dir: stopped(t, "hub")}
			tt.happens(r)
			before := r.list()
			if len(before) != len(tt.want) {
				t.Fatalf("%+v; want %q", before, tt.want)
			}
			for i, u := range before {
				state, end, _ := strings.Cut(tt.want[i], " ")
				if string(u.State) != state || !strings.HasSuffix(u.Detail, end) {
					t.Errorf("%d is %s, %q; want %q", u.Seq, u.State, u.Detail, tt.want[i])
				}
			}
			r.reindex()
			if d := cmp.Diff(before, r.list()); d != "" {
				t.Error(d)
			}
		})
	}
}

// Nothing is called quarantined that is not in the quarantine.
func TestReindexGivesUpWhatHasNoRecord(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(*refusing)
		want    []catalogue.State
	}{
		"cleared":         {func(r *refusing) { os.Remove(r.sidecar()) }, []catalogue.State{catalogue.StateLost}},
		"and here again":  {func(r *refusing) { os.Remove(r.sidecar()); r.comes(); r.refused() }, []catalogue.State{catalogue.StateQuarantined, catalogue.StateLost}},
		"and comes again": {func(r *refusing) { os.Remove(r.sidecar()); r.comes() }, []catalogue.State{catalogue.StateWaiting, catalogue.StateLost}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &refusing{T: t, dir: stopped(t, "hub")}
			r.comes()
			r.refused()
			r.drop("bob")
			tt.happens(r)
			r.reindex()
			after := r.list()
			var states []catalogue.State
			for _, u := range after {
				states = append(states, u.State)
			}
			if d := cmp.Diff(tt.want, states); d != "" {
				t.Fatal(d)
			}
			if first := after[len(after)-1]; first.Detail != "centre: 415 bad-kind; left the quarantine; the record of it is gone" {
				t.Errorf("%q", first.Detail)
			}
		})
	}
}
