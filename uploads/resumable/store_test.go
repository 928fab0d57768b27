package resumable_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/resumable"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func open(t *testing.T, d *disktest.Memory, o resumable.Options) (*resumable.Store, resumable.Recovery) {
	t.Helper()
	o.Disk = d
	if o.MaxAge == 0 {
		o.MaxAge = time.Hour
	}
	s, found, err := resumable.Open("", o)
	if err != nil {
		t.Fatal(err)
	}
	return s, found
}

func draft(t *testing.T, name string, length int64) resumable.Draft {
	t.Helper()
	n, err := uploads.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	return resumable.Draft{Draft: spool.Draft{Kind: "Logs", Name: n, Peer: "192.0.2.1", Length: length, MaxBytes: 1 << 20}}
}

func never() {}

func create(t *testing.T, s *resumable.Store, d resumable.Draft) *resumable.Session {
	t.Helper()
	c, err := s.Create(d, start, never)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Release)
	return c
}

func take(t *testing.T, s *resumable.Store, id string) *resumable.Session {
	t.Helper()
	c, err := s.Take(t.Context(), id, start, never)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Release)
	return c
}

func appendText(t *testing.T, c *resumable.Session, text string) {
	t.Helper()
	if err := c.Append(resumable.Part{Body: strings.NewReader(text)}); err != nil {
		t.Fatal(err)
	}
}

// adopt plays the spool: it takes the file away and keeps its bytes.
func adopt(d *disktest.Memory, into *[]byte) func(string) (uploads.Receipt, error) {
	return func(file string) (uploads.Receipt, error) {
		*into = d.Contents(file)
		return uploads.Receipt{SHA256: uploads.DigestOf(*into)}, d.Remove(file)
	}
}

func TestUploadArrivesInParts(t *testing.T) {
	d := disktest.NewMemory()
	s, _ := open(t, d, resumable.Options{})
	c := create(t, s, draft(t, "a.log", 11))
	id := c.Status().ID
	appendText(t, c, "hello ")
	c.Release()
	c = take(t, s, id)
	if st := c.Status(); st.Offset != 6 || st.Complete || st.Draft.Length != 11 || !st.Expires.Equal(start.Add(time.Hour)) {
		t.Fatalf("%+v", st)
	}
	appendText(t, c, "world")
	var got []byte
	if _, err := c.Finish(6, adopt(d, &got)); err != nil || string(got) != "hello world" {
		t.Fatalf("%q, %v", got, err)
	}
	c.Release()
	if st := take(t, s, id).Status(); !st.Complete || st.Offset != 11 || st.LastFrom != 6 || st.Digest != uploads.DigestOf(got) {
		t.Errorf("%+v", st)
	}
	if st := s.Stats(); st.Open != 0 || st.Done != 1 || st.Created != 1 || st.Completed != 1 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
	again, found := open(t, d.Kill(), resumable.Options{})
	if found.Done != 1 || found.Open != 0 {
		t.Errorf("after a restart: %+v", found)
	}
	if st := take(t, again, id).Status(); !st.Complete || st.Offset != 11 || st.Draft.Length != 11 || st.LastFrom != 6 {
		t.Errorf("after a restart: %+v", st)
	}
}

// What a body brought before it failed counts.
func TestCutPartIsKept(t *testing.T) {
	s, _ := open(t, disktest.NewMemory(), resumable.Options{})
	c := create(t, s, draft(t, "a.log", 11))
	cut := errors.New("cut")
	err := c.Append(resumable.Part{Body: io.MultiReader(strings.NewReader("hel"), failing{cut})})
	if !errors.Is(err, cut) || c.Status().Offset != 3 {
		t.Errorf("%v, offset %d", err, c.Status().Offset)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRefusedPartIsTakenBack(t *testing.T) {
	d := disktest.NewMemory()
	s, _ := open(t, d, resumable.Options{})
	c := create(t, s, draft(t, "a.log", -1))
	appendText(t, c, "hello")
	no := errors.New("no")
	if err := c.Append(resumable.Part{Body: strings.NewReader(" mars"), Check: func() error { return no }}); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if st := c.Status(); st.Offset != 5 {
		t.Fatalf("offset %d", st.Offset)
	}
	appendText(t, c, "!")
	if got := d.Contents(c.File()); string(got) != "hello!" {
		t.Errorf("%q", got)
	}
}

func TestLengthIsKept(t *testing.T) {
	s, _ := open(t, disktest.NewMemory(), resumable.Options{})
	c := create(t, s, draft(t, "a.log", -1))
	appendText(t, c, "hello")
	for _, tt := range []struct {
		length int64
		want   error
	}{{4, resumable.ErrLength}, {2 << 20, uploads.ErrTooLarge}, {6, nil}, {6, nil}, {7, resumable.ErrLength}} {
		if err := c.Declare(tt.length); !errors.Is(err, tt.want) {
			t.Errorf("%d: %v", tt.length, err)
		}
	}
	if _, err := c.Finish(0, nil); !errors.Is(err, resumable.ErrLength) {
		t.Errorf("finish too early: %v", err)
	}
	id := c.Status().ID
	if err := c.Append(resumable.Part{Body: strings.NewReader("!!")}); !errors.Is(err, resumable.ErrLength) {
		t.Errorf("too long: %v", err)
	}
	c.Release()
	if _, err := s.Take(t.Context(), id, start, never); !errors.Is(err, resumable.ErrGone) {
		t.Errorf("an upload that became too long: %v", err)
	}
}

func TestKindLimitIsKept(t *testing.T) {
	s, _ := open(t, disktest.NewMemory(), resumable.Options{})
	if _, err := s.Create(draft(t, "a.log", 2<<20), start, never); !errors.Is(err, uploads.ErrTooLarge) {
		t.Errorf("stated too long: %v", err)
	}
	c := create(t, s, draft(t, "a.log", -1))
	if err := c.Append(resumable.Part{Body: bytes.NewReader(make([]byte, 1<<20+1))}); !errors.Is(err, uploads.ErrTooLarge) {
		t.Errorf("became too long: %v", err)
	}
}

func TestWideDigestIsChecked(t *testing.T) {
	for _, text := range []string{"hello", "other"} {
		d := disktest.NewMemory()
		s, _ := open(t, d, resumable.Options{})
		dr := draft(t, "a.log", -1)
		sum := sha512.Sum512([]byte("hello"))
		dr.Wide = sum[:]
		c := create(t, s, dr)
		appendText(t, c, text)
		var got []byte
		_, err := c.Finish(0, adopt(d, &got))
		if (err == nil) != (text == "hello") || err != nil && !errors.Is(err, uploads.ErrDigest) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTinyPartsAreBounded(t *testing.T) {
	s, _ := open(t, disktest.NewMemory(), resumable.Options{})
	c := create(t, s, draft(t, "a.log", -1))
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = c.Append(resumable.Part{Body: strings.NewReader("x")})
	}
	if !errors.Is(err, resumable.ErrSmall) || n < 32 {
		t.Errorf("after %d: %v", n, err)
	}
	if err := c.Append(resumable.Part{Body: bytes.NewReader(make([]byte, 100)), Last: true}); err != nil {
		t.Errorf("the last part: %v", err)
	}
}

// A new request ends the one before it, whose bytes count.
func TestNewSessionEndsTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, disktest.NewMemory(), resumable.Options{})
		r, w := io.Pipe()
		c, err := s.Create(draft(t, "a.log", -1), start, func() { r.CloseWithError(io.ErrClosedPipe) })
		if err != nil {
			t.Fatal(err)
		}
		id := c.Status().ID
		var old sync.WaitGroup
		old.Go(func() {
			defer c.Release()
			if err := c.Append(resumable.Part{Body: r}); err == nil || !c.Superseded() {
				t.Errorf("the old one: %v, superseded %v", err, c.Superseded())
			}
		})
		w.Write([]byte("hello"))
		next, err := s.Take(t.Context(), id, start, never)
		if err != nil {
			t.Fatal(err)
		}
		defer next.Release()
		if st := next.Status(); st.Offset != 5 {
			t.Errorf("offset %d", st.Offset)
		}
		if st := s.Stats(); st.Interrupted != 1 {
			t.Errorf("%+v", st)
		}
		old.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Take(ctx, id, start, never); !errors.Is(err, context.Canceled) {
			t.Errorf("while another holds on to it: %v", err)
		}
	})
}

func TestUploadsExpire(t *testing.T) {
	s, _ := open(t, disktest.NewMemory(), resumable.Options{})
	c := create(t, s, draft(t, "a.log", -1))
	id := c.Status().ID
	late := start.Add(time.Hour)
	s.Expire(late) // not while somebody works on it
	appendText(t, c, "x")
	c.Release()
	if _, err := s.Take(t.Context(), id, late, never); !errors.Is(err, resumable.ErrGone) {
		t.Errorf("expired: %v", err)
	}
	s.Expire(late)
	if st := s.Stats(); st.Open != 0 || st.Ended[resumable.EndExpired] != 1 {
		t.Errorf("%+v", st)
	}
	if _, err := s.Take(t.Context(), id, late, never); !errors.Is(err, resumable.ErrGone) {
		t.Errorf("expired: %v", err)
	}
	if _, err := s.Take(t.Context(), "nosuchupload", late, never); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

func TestCancelledUploadLeavesNothing(t *testing.T) {
	d := disktest.NewMemory()
	s, _ := open(t, d, resumable.Options{})
	c := create(t, s, draft(t, "a.log", 100))
	appendText(t, c, "hello")
	if err := c.End(resumable.EndCancelled); err != nil {
		t.Fatal(err)
	}
	c.Release()
	if len(d.Names()) > 0 {
		t.Errorf("left: %v", d.Names())
	}
	if st := s.Stats(); st.Open != 0 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
	if _, err := s.Create(draft(t, "b.log", 100), start, never); err != nil {
		t.Errorf("the next: %v", err)
	}
}

func TestBoundsHold(t *testing.T) {
	at := func(s *resumable.Store, peer string, length int64, now time.Time) error {
		d := draft(t, "a.log", length)
		d.Peer = peer
		if device, ok := strings.CutPrefix(peer, "device "); ok {
			d.Device = uploads.Device{Name: device}
		}
		c, err := s.Create(d, now, never)
		if err == nil {
			c.Release()
		}
		return err
	}
	later := start.Add(30 * time.Minute)
	for _, tt := range []struct {
		name string
		o    resumable.Options
		peer string // of the second and third
	}{
		{"files", resumable.Options{Files: 2}, "b"},
		{"bytes", resumable.Options{Bytes: 250}, "b"},
		{"files of one device", resumable.Options{Device: resumable.Share{Files: 1}}, "device a"},
		{"bytes of one device", resumable.Options{Device: resumable.Share{Bytes: 150}}, "device a"},
		{"nameless files of one address", resumable.Options{Device: resumable.Share{Files: 1}, Child: resumable.Share{Files: 2}}, "a"},
		{"bytes of one address", resumable.Options{Device: resumable.Share{Bytes: 1}, Child: resumable.Share{Bytes: 250}}, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, disktest.NewMemory(), tt.o)
			for i, peer := range []string{"a", tt.peer} {
				if err := at(s, peer, 100, start); err != nil {
					t.Fatalf("%d: %v", i, err)
				}
			}
			if err := at(s, tt.peer, 100, start); !errors.Is(err, uploads.ErrFull) {
				t.Errorf("one too many: %v", err)
			}
			if err := at(s, tt.peer, 100, later); err != nil {
				t.Errorf("when others have rested: %v", err)
			}
			if st := s.Stats(); st.Open != 2 || st.Ended[resumable.EndEvicted] != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestGrowthIsBounded(t *testing.T) {
	s, _ := open(t, disktest.NewMemory(), resumable.Options{Child: resumable.Share{Bytes: 100}})
	c := create(t, s, draft(t, "a.log", -1))
	appendText(t, c, strings.Repeat("x", 100))
	if err := c.Append(resumable.Part{Body: strings.NewReader("x")}); !errors.Is(err, uploads.ErrFull) {
		t.Errorf("%v", err)
	}
	if c.Status().Offset != 100 {
		t.Errorf("offset %d", c.Status().Offset)
	}
}

func TestUnfinishedUploadIsFoundByItsDigest(t *testing.T) {
	d := disktest.NewMemory()
	s, _ := open(t, d, resumable.Options{})
	sum := uploads.DigestOf([]byte("hello"))
	dr := draft(t, "A.log", 5)
	dr.Want = &sum
	c := create(t, s, dr)
	appendText(t, c, "hel")
	c.Release()
	s, _ = open(t, d.Kill(), resumable.Options{})
	name, _ := uploads.ParseName("a.log")
	if st, ok := s.Find(dr.Source(), "Logs", name, sum, start); !ok || st.Offset != 3 || st.ID != c.Status().ID {
		t.Errorf("%+v %v", st, ok)
	}
	for source, at := range map[string]time.Time{"peer:elsewhere": start, dr.Source(): start.Add(time.Hour)} {
		if _, ok := s.Find(source, "Logs", name, sum, at); ok {
			t.Errorf("found for %s at %v", source, at)
		}
	}
}

// Whatever a power cut leaves, an upload has at least what was promised, whole,
// or has ended.
func TestPromisesSurvivePowerCuts(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		d := disktest.NewMemory()
		s, _ := open(t, d, resumable.Options{})
		c := create(t, s, draft(t, "a.log", -1))
		id := c.Status().ID
		text := make([]byte, 0, 100<<10)
		for range r.IntN(6) {
			part := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(20<<10))
			text = append(text, part...)
			appendText(t, c, string(part))
		}
		promised := c.Status().Offset
		// One more part is under way: its write is not synced.
		d.SetFault(func(op disktest.Op, name string) error {
			if op == disktest.OpSync {
				return errors.New("power is going")
			}
			return nil
		})
		c.Append(resumable.Part{Body: strings.NewReader(strings.Repeat("?", r.IntN(20<<10)))})
		cut := d.Cut(r)
		again, _ := open(t, cut, resumable.Options{})
		next, err := again.Take(t.Context(), id, start, never)
		if err != nil {
			// The part that failed ended the upload, and its files may be gone.
			if errors.Is(err, uploads.ErrUnknown) || errors.Is(err, resumable.ErrGone) {
				continue
			}
			t.Fatalf("seed %d: %v", seed, err)
		}
		st := next.Status()
		if got := cut.Contents(next.File()); st.Offset < promised || st.Offset > promised && st.Offset <= int64(len(text)) || string(got[:promised]) != string(text) {
			t.Fatalf("seed %d: offset %d, promised %d, %d bytes", seed, st.Offset, promised, len(got))
		}
		next.Release()
	}
}

// A cut that comes without any failed sync loses nothing at all.
func TestQuietPowerCutLosesNothing(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 2))
		d := disktest.NewMemory()
		s, _ := open(t, d, resumable.Options{})
		c := create(t, s, draft(t, "a.log", -1))
		appendText(t, c, "hello")
		cut := d.Cut(r)
		again, found := open(t, cut, resumable.Options{})
		next, err := again.Take(t.Context(), c.Status().ID, start, never)
		if err != nil || next.Status().Offset != 5 || string(cut.Contents(next.File())) != "hello" {
			t.Fatalf("seed %d: %v, %+v", seed, err, found)
		}
		next.Release()
	}
}

func TestOpenKeepsItsRules(t *testing.T) {
	base := func(t *testing.T, want bool) (*disktest.Memory, string) {
		d := disktest.NewMemory()
		s, _ := open(t, d, resumable.Options{})
		dr := draft(t, "a.log", 5)
		if want {
			sum := uploads.DigestOf([]byte("hello"))
			dr.Want = &sum
		}
		c := create(t, s, dr)
		appendText(t, c, "hello")
		c.Release()
		return d.Kill(), c.Status().ID
	}
	file := func(id, suffix string) string { return resumable.Dir + "/" + id + suffix }
	for _, tt := range []struct {
		name  string
		want  bool
		do    func(d *disktest.Memory, id string)
		check func(resumable.Recovery, resumable.Status, error) bool
	}{
		{"bytes behind the promise are cut off", false, func(d *disktest.Memory, id string) { d.Put(file(id, ".part"), []byte("hello\x00\x00")) },
			func(f resumable.Recovery, st resumable.Status, err error) bool {
				return err == nil && st.Offset == 5 && f.Open == 1
			}},
		{"a torn last line was never told", false, func(d *disktest.Memory, id string) {
			d.Put(file(id, ".state"), append(d.Contents(file(id, ".state")), "0badcafe {\"off"...))
		}, func(f resumable.Recovery, st resumable.Status, err error) bool { return err == nil && st.Offset == 5 }},
		{"fewer bytes than promised", false, func(d *disktest.Memory, id string) { d.Put(file(id, ".part"), []byte("hell")) },
			func(f resumable.Recovery, _ resumable.Status, err error) bool {
				return errors.Is(err, resumable.ErrGone) && f.Damaged == 1
			}},
		{"a damaged line in front of a sound one", false, func(d *disktest.Memory, id string) {
			b := d.Contents(file(id, ".state"))
			d.Put(file(id, ".state"), append(b[:len(b):len(b)], append([]byte("xx\n"), b[bytes.IndexByte(b, '\n')+1:]...)...))
		}, func(f resumable.Recovery, _ resumable.Status, err error) bool {
			return errors.Is(err, resumable.ErrGone) && f.Damaged == 1
		}},
		{"a first line that cannot be read", false, func(d *disktest.Memory, id string) { d.Put(file(id, ".state"), []byte("nonsense\n")) },
			func(f resumable.Recovery, _ resumable.Status, err error) bool {
				return errors.Is(err, resumable.ErrGone) && f.Damaged == 1
			}},
		{"no bytes", false, func(d *disktest.Memory, id string) { d.Remove(file(id, ".part")) },
			func(f resumable.Recovery, _ resumable.Status, err error) bool {
				return errors.Is(err, resumable.ErrGone) && f.Damaged == 1
			}},
		{"no bytes of an announced digest", true, func(d *disktest.Memory, id string) { d.Remove(file(id, ".part")) },
			func(f resumable.Recovery, st resumable.Status, err error) bool {
				return err == nil && st.Complete && st.Digest == uploads.DigestOf([]byte("hello")) && f.Done == 1
			}},
		{"no state", false, func(d *disktest.Memory, id string) { d.Remove(file(id, ".state")) },
			func(f resumable.Recovery, _ resumable.Status, err error) bool {
				return errors.Is(err, uploads.ErrUnknown) && f.Orphans == 1
			}},
		{"an unknown file is left alone", false, func(d *disktest.Memory, id string) { d.Put(resumable.Dir+"/note.txt", []byte("x")) },
			func(f resumable.Recovery, _ resumable.Status, err error) bool {
				return err == nil && len(f.Unknown) == 1
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, id := base(t, tt.want)
			tt.do(d, id)
			s, found := open(t, d, resumable.Options{})
			var st resumable.Status
			c, err := s.Take(t.Context(), id, start, never)
			if err == nil {
				st = c.Status()
				c.Release()
			}
			if !tt.check(found, st, err) {
				t.Errorf("%+v %+v %v", found, st, err)
			}
			if names := strings.Join(d.Names(), " "); strings.Contains(names, "note.txt") != (len(found.Unknown) > 0) {
				t.Errorf("left: %s", names)
			}
		})
	}
}

func TestNewerStateIsRefused(t *testing.T) {
	d := disktest.NewMemory()
	s, _ := open(t, d, resumable.Options{})
	c := create(t, s, draft(t, "a.log", 5))
	c.Release()
	name := resumable.Dir + "/" + c.Status().ID + ".state"
	text := `{"version":2,"anything":"else"}`
	d.Put(name, fmt.Appendf(nil, "%08x %s\n", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)), text))
	before := strings.Join(d.Names(), " ")
	_, _, err := resumable.Open("", resumable.Options{Disk: d, MaxAge: time.Hour})
	if !errors.Is(err, resumable.ErrNewer) || strings.Join(d.Names(), " ") != before {
		t.Errorf("%v; %v", err, d.Names())
	}
}

// Each operation of the disk failing once leaves a sound upload or none, and a
// store that goes on.
func TestDiskFaults(t *testing.T) {
	for _, op := range []disktest.Op{disktest.OpCreate, disktest.OpOpen, disktest.OpWrite, disktest.OpSync, disktest.OpSyncDir} {
		for nth := range 8 {
			d := disktest.NewMemory()
			s, _ := open(t, d, resumable.Options{})
			left := nth
			d.SetFault(func(o disktest.Op, _ string) error {
				if o == op {
					left--
					if left == -1 {
						return errors.New("the disk says no")
					}
				}
				return nil
			})
			upload(t, s, d)
			d.SetFault(nil)
			if !upload(t, s, d) {
				t.Errorf("%s %d: no upload afterwards", op, nth)
			}
		}
	}
}

// upload sends a file as a patient client does and reports whether it arrived.
func upload(t *testing.T, s *resumable.Store, d *disktest.Memory) bool {
	t.Helper()
	c, err := s.Create(draft(t, "a.log", 10), start, never)
	if err != nil {
		return false
	}
	id := c.Status().ID
	for range 8 {
		at := c.Status().Offset
		err := c.Append(resumable.Part{Body: strings.NewReader("0123456789"[at:min(at+4, 10)]), Last: true})
		if err == nil && c.Status().Offset == 10 {
			break
		}
		c.Release()
		if c, err = s.Take(t.Context(), id, start, never); err != nil {
			return false // it ended, and the client begins again
		}
	}
	defer c.Release()
	var got []byte
	if _, err := c.Finish(0, adopt(d, &got)); err != nil {
		return false
	}
	if string(got) != "0123456789" {
		t.Errorf("arrived as %q", got)
	}
	return true
}
