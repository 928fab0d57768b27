package shelf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/objectstore"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// A bucket is a store in memory, with at most perPage objects in a page.
type bucket struct {
	objects map[string]*object
	lists   int
	reads   []string
	broken  atomic.Bool // listings are
}

type object struct {
	objectstore.Object
	u    uploads.Upload
	body string
	err  error
}

const perPage = 3

func (b *bucket) put(author string, at time.Time, full bool, change func(*object)) *object {
	n, err := fleet.Name(author, at, full, false)
	if err != nil {
		panic(err)
	}
	body := fmt.Sprintf("%s %v %s", author, full, at.Format(time.RFC3339))
	d := uploads.DigestOf([]byte(body))
	o := &object{u: uploads.Upload{Kind: fleet.Kind, Name: n, Digest: d, Size: int64(len(body)), Via: []string{author}}, body: body}
	o.Object = objectstore.Object{Key: objectstore.Key("", o.u), Name: n, Size: o.u.Size, ETag: d.String(), Modified: at}
	if change != nil {
		change(o)
	}
	b.objects[o.Key] = o
	return o
}

func (b *bucket) List(_ context.Context, kind string, day time.Time, after string) (found []objectstore.Object, next string, err error) {
	if b.broken.Load() {
		return nil, "", errors.New("access denied")
	}
	b.lists++
	for _, key := range slices.Sorted(mapKeys(b.objects)) {
		if strings.HasPrefix(key, kind+"/date="+day.Format(time.DateOnly)+"/") && key > after {
			if found = append(found, b.objects[key].Object); len(found) == perPage {
				return found, key, nil
			}
		}
	}
	return found, "", nil
}

func mapKeys(m map[string]*object) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (b *bucket) Read(_ context.Context, _ string, o objectstore.Object) (uploads.Upload, io.ReadCloser, error) {
	b.reads = append(b.reads, o.Name.String())
	has := b.objects[o.Key]
	if has == nil {
		return uploads.Upload{}, nil, uploads.ErrUnknown
	}
	return has.u, io.NopCloser(uploads.Verify(strings.NewReader(has.body), has.u.Size, has.u.Digest)), has.err
}

// A centre is told what is in the bucket.
type centre struct {
	*Shelf
	*bucket
	index int64
	told  []string // bodies
	got   []uploads.Upload
	fails error
}

func newCentre(t *testing.T) *centre {
	c := &centre{bucket: &bucket{objects: map[string]*object{}}, index: 1}
	c.restart(t.TempDir())
	return c
}

func (c *centre) restart(dir string) {
	c.Shelf = New(Options{
		Name: "lake", Where: "here", Store: c.bucket, Every: 5 * time.Minute, Self: "centre", MaxBytes: 1000, Dir: dir,
		Index: func(context.Context) (int64, error) { return c.index, nil },
		Tell: func(_ context.Context, u uploads.Upload, b uploads.Body) (bool, error) {
			body, err := io.ReadAll(b)
			if err != nil || c.fails != nil {
				return false, errors.Join(err, c.fails)
			}
			if bytes.HasPrefix(body, []byte("evil")) {
				return false, fmt.Errorf("%w: it is evil", fleet.ErrReport)
			}
			c.told, c.got = append(c.told, string(body)), append(c.got, u)
			return fleet.IsFull(u.Name), nil
		},
	})
}

// look is a round, and what it told.
func (c *centre) look(t *testing.T, now time.Time) []string {
	t.Helper()
	c.told, c.got, c.reads, c.lists = nil, nil, nil, 0
	if err := c.round(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	return c.told
}

func TestShelfReadsEachReportOnce(t *testing.T) {
	c := newCentre(t)
	for i := range 8 {
		c.put("leaf", noon.Add(time.Duration(i-8)*time.Minute), false, nil)
	}
	if told := c.look(t, noon); len(told) != 8 {
		t.Fatalf("told %q", told)
	}
	if told := c.look(t, noon.Add(time.Minute)); len(told) != 0 || len(c.reads) != 0 {
		t.Errorf("told again: %q", told)
	}
	if c.lists > 4 { // a day in three pages of three, and no other day
		t.Errorf("%d listings for what each round looks for", c.lists)
	}
	c.put("leaf", noon.Add(time.Minute), false, nil)
	c.put("leaf", noon.Add(-30*time.Minute), false, func(o *object) { o.Modified = noon.Add(time.Minute) }) // it overtook nobody
	if told := c.look(t, noon.Add(2*time.Minute)); len(told) != 2 {
		t.Errorf("told %q", told)
	}
	if left, _ := filepath.Glob(filepath.Join(c.o.Dir, "*.part")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// All that a beacon knew is in its newest full report: none before it is read.
func TestShelfBeginsWithNewestFullReport(t *testing.T) {
	c := newCentre(t)
	for day := range 5 {
		for i := range 5 {
			c.put("leaf", noon.AddDate(0, 0, -day).Add(time.Duration(i)*time.Minute), i == 1, nil)
		}
	}
	c.put("dead", noon.AddDate(0, 0, -20), true, nil)
	c.put("older", noon.AddDate(0, 0, -40), true, nil)
	told := c.look(t, noon.Add(time.Hour))
	if want := 3 + 2 + 1; len(told) > want || !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, "dead") }) { // the page that ends with the full one's neighbours
		t.Errorf("told %q", told)
	}
	for _, s := range told {
		if strings.HasPrefix(s, "older") || strings.HasPrefix(s, "leaf") && !strings.Contains(s, noon.Format(time.DateOnly)) {
			t.Errorf("told %q", s)
		}
	}
}

// A report that says by its name that it holds everything, and does not, hides none.
func TestShelfIsNotFooledByNameOfFullReport(t *testing.T) {
	c := newCentre(t)
	c.put("leaf", noon.Add(-time.Hour), true, nil)
	c.put("leaf", noon, true, func(o *object) { o.body = "evil" + o.body[4:]; o.u.Digest = uploads.DigestOf([]byte(o.body)) })
	c.put("leaf", noon.Add(time.Minute), true, func(o *object) { o.u.Via = []string{"stranger"} })
	if told := c.look(t, noon.Add(time.Hour)); len(told) != 2 || c.Status().Refused != 1 {
		t.Errorf("told %q, %+v", told, c.Status())
	}
}

func TestShelfGoesOnAfterRestart(t *testing.T) {
	c := newCentre(t)
	c.put("dead", noon.AddDate(0, 0, -5), false, nil)
	c.put("leaf", noon.Add(-3*time.Hour), false, nil)
	c.put("leaf", noon.Add(-time.Minute), false, nil)
	c.look(t, noon)
	dir := c.o.Dir
	c.restart(dir)
	if told := c.look(t, noon); len(told) != 1 || !strings.Contains(told[0], "11:59") {
		t.Errorf("after a restart: %q", told)
	}
	c.index = 2
	if told := c.look(t, noon); len(told) != 3 {
		t.Errorf("into another index: %q", told)
	}
	c.restart(dir)
	c.cursor.Where = "" // as if the file were another store's
	if err := os.WriteFile(c.file(".json"), []byte(`{"version":1,"where":"there","index":2,"settled":"2026-03-10T11:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.restart(dir)
	if told := c.look(t, noon); len(told) != 3 {
		t.Errorf("from another store: %q", told)
	}
	if err := os.WriteFile(c.file(".json"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.restart(dir)
	if told := c.look(t, noon); len(told) != 3 {
		t.Errorf("with a damaged cursor: %q", told)
	}
}

// What a beacon that was cut off brings days late is found, and a store's clock that
// is ahead hides nothing that comes.
func TestShelfFindsWhatComesLate(t *testing.T) {
	c := newCentre(t)
	c.put("ahead", noon.Add(-time.Minute), false, func(o *object) { o.Modified = noon.AddDate(1, 0, 0) })
	c.look(t, noon)
	c.put("leaf", noon.AddDate(0, 0, -5), false, func(o *object) { o.Modified = noon.Add(time.Minute) })
	if told := c.look(t, noon.Add(5*time.Minute)); len(told) != 0 {
		t.Errorf("found at once: %q", told)
	}
	if told := c.look(t, noon.Add(wholeEvery)); len(told) != 1 {
		t.Errorf("not found: %q", told)
	}
	if n := len(c.seen); n > 2 {
		t.Errorf("%d are remembered", n)
	}
}

func TestShelfRefusesHostileObjects(t *testing.T) {
	c := newCentre(t)
	sound := c.put("leaf", noon, false, nil)
	tampered := c.put("leaf", noon.Add(time.Second), false, func(o *object) { o.body = strings.ToUpper(o.body) })
	c.put("leaf", noon.Add(2*time.Second), false, func(o *object) { o.Size = 1001 })
	c.put("leaf", noon.Add(3*time.Second), false, func(o *object) { o.u.Via = nil })
	c.put("leaf", noon.Add(4*time.Second), false, func(o *object) { o.u.Via = strings.Fields(strings.Repeat("b ", 9)) })
	c.put("leaf", noon.Add(5*time.Second), false, func(o *object) { o.err = uploads.ErrRefused })
	c.put("evil", noon, false, nil)
	c.put("centre", noon, false, nil)
	c.put("leaf", noon.Add(6*time.Second), false, func(o *object) { o.u.Via = []string{"leaf", "centre", "hub"} })
	told := c.look(t, noon.Add(time.Minute))
	if len(told) != 1 || told[0] != sound.body || c.Status().Refused != 6 || c.Status().Read != 1 {
		t.Errorf("told %q, %+v", told, c.Status())
	}
	if told := c.look(t, noon.Add(2*time.Minute)); len(told) != 0 || len(c.reads) != 0 {
		t.Errorf("looked at again: %q", c.reads)
	}
	tampered.body = strings.ToLower(tampered.body[:4]) + tampered.body[4:]
	tampered.body = "leaf false " + noon.Add(time.Second).Format(time.RFC3339)
	tampered.ETag = "sound" // somebody put it right
	if told := c.look(t, noon.Add(3*time.Minute)); len(told) != 1 {
		t.Errorf("not read once it is sound: %q", told)
	}
}

// What one object cannot be read for does not keep the others from being read, nor
// is it tried for ever; but a store that gives nothing is.
func TestShelfTriesAgain(t *testing.T) {
	c := newCentre(t)
	c.put("leaf", noon, false, func(o *object) { o.err = errors.New("slow down") })
	for i := range 2 * maxStrikes {
		if err := c.round(t.Context(), noon.Add(time.Duration(i)*time.Minute)); err == nil {
			t.Fatalf("round %d: no error", i)
		}
	}
	for i := range maxStrikes + 1 {
		now := noon.Add(time.Duration(20+i) * time.Minute)
		c.put("leaf", now, false, nil)
		if err := c.round(t.Context(), now); (err == nil) != (i == maxStrikes) {
			t.Errorf("round %d beside sound ones: %v", i, err)
		}
	}
	if len(c.told) != maxStrikes+1 || c.Status().Refused != 1 {
		t.Errorf("told %q, %+v", c.told, c.Status())
	}
	c.fails = errors.New("the index is closed")
	c.put("leaf", noon.Add(time.Hour), false, nil)
	if err := c.round(t.Context(), noon.Add(time.Hour)); err == nil {
		t.Error("an index that failed was told")
	}
	c.fails = nil
	if told := c.look(t, noon.Add(2*time.Hour)); len(told) != 1 {
		t.Errorf("told %q", told)
	}
}

// A clock of a beacon that is ahead counts no further than the store's.
func TestShelfTakesTimeFromStore(t *testing.T) {
	c := newCentre(t)
	c.put("leaf", noon, false, nil)
	c.put("ahead", noon, false, func(o *object) { o.Modified = noon.Add(time.Hour) })
	c.look(t, noon.Add(time.Minute))
	for _, u := range c.got {
		want := noon
		if u.Via[0] == "ahead" {
			want = noon.Add(time.Minute)
		}
		if !u.Received.Equal(want) {
			t.Errorf("%s: received %v", u.Name, u.Received)
		}
	}
}

func TestShelfLogsChangesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCentre(t)
		var log bytes.Buffer
		c.o.Log = slog.New(slog.NewTextHandler(&log, nil))
		c.broken.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "cannot be read"); n != 1 {
			t.Errorf("told %d times: %s", n, &log)
		}
		if st := c.Status(); st.Failures < 10 || st.Failures > 1000 || st.Error != "access denied" || !st.Success.IsZero() {
			t.Errorf("%+v", st)
		}
		c.broken.Store(false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "read again"); n != 1 || c.Status().Failures != 0 || c.Status().Success.IsZero() {
			t.Errorf("told %d times: %s", n, &log)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}
