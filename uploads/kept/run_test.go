package kept

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
)

// index remembers what it was told.
type index struct {
	store *Store

	mu       sync.Mutex
	known    map[string]string // names by receipt
	replaced int
	fail     error
}

func (i *index) ReplaceKept(context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.replaced++
	if i.fail != nil {
		return i.fail
	}
	i.known = map[string]string{}
	for e := range i.store.Entries() {
		i.known[e.ID] = e.Name.String()
	}
	return nil
}

func (i *index) ChangeKept(_ context.Context, added []Entry, left []string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fail != nil {
		return i.fail
	}
	for _, id := range left {
		delete(i.known, id)
	}
	for _, e := range added {
		i.known[e.ID] = e.Name.String()
	}
	return nil
}

func (i *index) names() (out []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, name := range i.known {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// The index follows what comes and leaves, also after it failed.
func TestRunTellsTheIndex(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		i := &index{store: s}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, i) }()
		for n := range 6 {
			i.mu.Lock()
			if i.fail = nil; n == 4 {
				i.fail = errors.New("disk full")
			}
			i.mu.Unlock()
			if err := s.Keep([]uploads.Parcel{inventory(t, "ws1", n)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * gather)
			synctest.Wait()
			if n == 4 {
				i.mu.Lock()
				i.fail = nil
				i.mu.Unlock()
				time.Sleep(2 * retry.Max)
				synctest.Wait()
			}
			if got, want := i.names(), names(s); !slices.Equal(got, want) || len(want) != min(n+1, 2) {
				t.Errorf("%d: indexed %q, kept %q", n, got, want)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if i.replaced < 2 {
			t.Errorf("told everything %d times", i.replaced)
		}
	})
}
