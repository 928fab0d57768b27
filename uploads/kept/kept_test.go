package kept

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
)

var received = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// parcel is an inventory of a device; its bytes are its name, unless it says
// others.
func parcel(t *testing.T, device, name string, at time.Time, body ...string) uploads.Parcel {
	t.Helper()
	n, err := uploads.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	b := []byte(strings.Join(append(body, name)[:1], ""))
	u := uploads.Upload{
		Kind: "Inventories", Name: n, Device: uploads.Device{Domain: "D", Name: device}, Digest: uploads.DigestOf(b), Size: int64(len(b)), Received: at,
	}
	return uploads.Parcel{Upload: u, Open: func() (uploads.Body, error) { return memory{bytes.NewReader(b)}, nil }}
}

// inventory is one that was made in the n-th hour of a day, and received then.
func inventory(t *testing.T, device string, n int) uploads.Parcel {
	t.Helper()
	at := received.Add(time.Duration(n) * time.Hour)
	return parcel(t, device, fmt.Sprintf("%s at %s.ndi", device, at.Format(uploads.TimestampLayout)), at)
}

func id(p uploads.Parcel) string { return uploads.ReceiptID(p.Kind, p.Name, p.Digest) }

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	if o.Newest == nil {
		o.Newest = func(Entry) int { return 2 }
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.load()
	return s
}

func keep(t *testing.T, s *Store, parcels ...uploads.Parcel) {
	t.Helper()
	if err := s.Keep(parcels); err != nil {
		t.Fatal(err)
	}
}

func names(s *Store) (out []string) {
	for e := range s.Entries() {
		out = append(out, e.Name.String())
	}
	slices.Sort(out)
	return out
}

func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestStoreKeepsTheNewestOfEachDevice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for n := range 5 {
		keep(t, s, inventory(t, "ws1", n), inventory(t, "ws2", n))
		s.Trim(received)
	}
	want := []string{"ws1 at 20260301T150000.ndi", "ws1 at 20260301T160000.ndi", "ws2 at 20260301T150000.ndi", "ws2 at 20260301T160000.ndi"}
	if got := names(s); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if n := len(files(t, dir)); n != 8 {
		t.Errorf("%d files, of which half are bodies", n)
	}
	if st := s.Stats(); st.Files != 4 || st.Bytes != 4*2*block || st.Copied != 10 || st.Superseded != 6 {
		t.Errorf("%+v", st)
	}
	again := open(t, dir, Options{})
	if got := names(again); !slices.Equal(got, want) || again.Stats().Bytes != s.Stats().Bytes {
		t.Errorf("after a restart: %q, %+v", got, again.Stats())
	}
}

// What was sent late is older than what is here, and a clock that is years ahead
// counts for nothing.
func TestNewestAreToldByTheTimeInTheName(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	late := inventory(t, "ws1", 0)
	late.Received = received.Add(9 * time.Hour)
	keep(t, s, inventory(t, "ws1", 1), inventory(t, "ws1", 2))
	keep(t, s, late)
	s.Trim(received)
	if s.Has(id(late)) || s.Stats().Files != 2 {
		t.Errorf("an old one that came late drove out a newer one: %q", names(s))
	}
	if s.Stats().Skipped != 1 {
		t.Errorf("it was copied for nothing: %+v", s.Stats())
	}
	ahead := parcel(t, "ws1", "ws1 at 20990101T000000.ndi", received.Add(3*time.Hour))
	keep(t, s, ahead)
	keep(t, s, inventory(t, "ws1", 4), inventory(t, "ws1", 5))
	s.Trim(received)
	if s.Has(id(ahead)) {
		t.Errorf("one from the future stayed: %q", names(s))
	}
}

func TestSameBytesUnderTwoNamesAreOneBody(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	a, b := parcel(t, "ws1", "ws1 at 20260301T120000.ndi", received, "same"), parcel(t, "ws2", "ws2 at 20260301T120000.ndi", received, "same")
	keep(t, s, a, b)
	if n := len(files(t, dir)); n != 3 {
		t.Errorf("%d files", n)
	}
	e, err := s.Find(id(a))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.remove(s.files[e.ID])
	s.mu.Unlock()
	if got := read(t, s, id(b)); got != "same" {
		t.Errorf("%q", got)
	}
}

func read(t *testing.T, s *Store, receipt string) string {
	t.Helper()
	e, err := s.Find(receipt)
	if err != nil {
		t.Fatal(err)
	}
	body, err := s.Body(e)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFindByTheStartOfAReceipt(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	p := inventory(t, "ws1", 0)
	keep(t, s, p)
	if got := read(t, s, strings.ToUpper(id(p)[:5])); got != p.Name.String() {
		t.Errorf("%q", got)
	}
	for i := range 40 { // more than there are letters to begin with
		keep(t, s, inventory(t, fmt.Sprint("pc", i), 0))
	}
	for _, start := range []string{"", "!"} {
		if _, err := s.Find(start); !errors.Is(err, uploads.ErrUnknown) {
			t.Errorf("%q: %v", start, err)
		}
	}
	starts := map[string]int{}
	for e := range s.Entries() {
		starts[e.ID[:1]]++
	}
	for start, n := range starts {
		if _, err := s.Find(start); errors.Is(err, ErrAmbiguous) != (n > 1) {
			t.Errorf("%q of %d: %v", start, n, err)
		}
	}
}

func TestBodyThatTheDiskDidNotKeepLeaves(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	p := inventory(t, "ws1", 0)
	keep(t, s, p)
	if err := os.WriteFile(filepath.Join(dir, bodyName(p.Digest)), []byte("WS1 at 20260301T120000.ndi"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := s.Find(id(p))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Body(e); !errors.Is(err, uploads.ErrUnknown) || !errors.Is(err, errDamaged) {
		t.Errorf("%v", err)
	}
	if s.Has(id(p)) || len(files(t, dir)) != 0 || s.Stats().Damaged != 1 {
		t.Errorf("%q, %+v", files(t, dir), s.Stats())
	}
}

// What an interrupted copy, or one that was leaving, left behind is removed;
// what is not ours is not.
func TestOpenFinishesWhatWasInterrupted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	whole, alone, vouched := inventory(t, "ws1", 0), inventory(t, "ws2", 0), inventory(t, "ws3", 0)
	keep(t, s, whole, alone, vouched)
	for _, gone := range []string{sidecarName(alone.Digest, id(alone)), bodyName(vouched.Digest)} {
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	strangers := []string{"README", "ABCD.body", strings.Repeat("0", 64) + ".txt"}
	for _, name := range append(strangers, ".x.tmp") {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, dir, Options{})
	want := append(strangers, bodyName(whole.Digest), sidecarName(whole.Digest, id(whole)))
	slices.Sort(want)
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if st := again.Stats(); st.Files != 1 || st.Unknown != 3 {
		t.Errorf("%+v", st)
	}
}

func TestSidecarsOfOtherVersions(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	newer, broken := inventory(t, "ws1", 0), inventory(t, "ws2", 0)
	keep(t, s, newer, broken)
	for p, text := range map[string]string{
		sidecarName(newer.Digest, id(newer)):   fmt.Sprintf(`{"version":2,"receipt":%q,"sha256":%q}`, id(newer), newer.Digest),
		sidecarName(broken.Digest, id(broken)): "{",
	} {
		if err := os.WriteFile(filepath.Join(dir, p), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, dir, Options{MaxBytes: 1})
	again.Trim(received.Add(time.Hour))
	want := []string{bodyName(newer.Digest), sidecarName(newer.Digest, id(newer))}
	slices.Sort(want)
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestStoreStaysWithinItsBounds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{MaxBytes: 30 * 2 * block, MaxAge: 24 * time.Hour})
	for n := range 20 {
		keep(t, s, inventory(t, fmt.Sprint("ws", n), 0), inventory(t, fmt.Sprint("ws", n), 1))
	}
	s.Trim(received)
	st := s.Stats()
	if st.Bytes > 30*2*block || st.Files < 27 || st.Squeezed == 0 {
		t.Errorf("%+v", st)
	}
	for n := range 20 {
		if !s.Has(id(inventory(t, fmt.Sprint("ws", n), 1))) {
			t.Errorf("the newest of ws%d left before second copies of others", n)
		}
	}
	s.Trim(received.Add(24*time.Hour + 30*time.Minute)) // the first hour's are too old
	if st := s.Stats(); st.Files != 20 || st.Aged == 0 {
		t.Errorf("%+v", st)
	}
}

func TestKeepMakesNoCopyWithoutRoom(t *testing.T) {
	room := false
	s := open(t, t.TempDir(), Options{Room: func() bool { return room }})
	keep(t, s, inventory(t, "ws1", 0))
	if s.Stats().Files != 0 || s.Stats().Skipped != 1 {
		t.Errorf("%+v", s.Stats())
	}
	room = true
	keep(t, s, inventory(t, "ws1", 0))
	keep(t, s, inventory(t, "ws1", 0)) // again
	if st := s.Stats(); st.Files != 1 || st.Copied != 1 {
		t.Errorf("%+v", st)
	}
}

// A copy that cannot be made leaves nothing, and the others are made.
func TestKeepGoesOnAfterAFailure(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	gone, wrong, good := inventory(t, "ws1", 0), inventory(t, "ws2", 0), inventory(t, "ws3", 0)
	gone.Open = func() (uploads.Body, error) { return nil, uploads.ErrUnknown }
	wrong.Open = func() (uploads.Body, error) { return memory{bytes.NewReader([]byte("other bytes"))}, nil }
	same := parcel(t, "ws4", "ws4 at 20260301T120000.ndi", received, gone.Name.String())
	same.Open = gone.Open
	err := s.Keep([]uploads.Parcel{gone, wrong, good, same})
	if !errors.Is(err, uploads.ErrUnknown) || !errors.Is(err, uploads.ErrDigest) {
		t.Errorf("%v", err)
	}
	if got := files(t, dir); len(got) != 2 || s.Stats().Failed != 3 || !s.Has(id(good)) {
		t.Errorf("%q, %+v", got, s.Stats())
	}
}
