package inventory

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func options(collectors ...*Collector) Options {
	return Options{
		Identity:   Identity{Name: "ws0042", Domain: "EXAMPLE", AgentID: "id1", AgentVersion: "0.1.0"},
		Now:        noon,
		Collectors: collectors,
	}
}

func found(section string) *Collector {
	return &Collector{Section: section, Collect: func(context.Context, Host) (Findings, error) {
		return one("Win32_Thing", section, "test", properties{{"Key", "value"}}), nil
	}}
}

func collector(section string, f func(ctx context.Context) (Findings, error)) *Collector {
	return &Collector{Section: section, Collect: func(ctx context.Context, _ Host) (Findings, error) { return f(ctx) }}
}

func statuses(d *Document) (all []string) {
	for _, s := range d.Summary().Sections {
		all = append(all, fmt.Sprintf("%s %s %d %s", s.Name, s.Status, s.Count, s.Error))
	}
	return all
}

func TestDocumentSurvivesItsCollectors(t *testing.T) {
	partial := one("Win32_Thing", "half", "test", nil)
	for _, bad := range []struct {
		name    string
		collect func(context.Context) (Findings, error)
		want    string
	}{
		{"fails", func(context.Context) (Findings, error) { return Findings{}, errors.New("no luck") }, "bad failed 0 no luck"},
		{"fails half-way", func(context.Context) (Findings, error) { return partial, errors.New("no luck") }, "bad failed 1 no luck"},
		{"panics", func(context.Context) (Findings, error) { panic("ouch") }, "bad failed 0 panic: ouch"},
		{"panics by mistake", func(context.Context) (Findings, error) {
			return Findings{Packages: partial.Packages[1:]}, nil
		}, "bad failed 0 panic: runtime error: slice bounds out of range [1:0]"},
		{"ends its goroutine", func(context.Context) (Findings, error) { runtime.Goexit(); return Findings{}, nil }, "bad failed 0 the collector ended without an answer"},
		{"is absent", func(context.Context) (Findings, error) { return Findings{}, fmt.Errorf("x: %w", ErrAbsent) }, "bad absent 0 "},
		{"finds nothing", func(context.Context) (Findings, error) { return Findings{}, nil }, "bad ok 0 "},
		{"finds something", func(context.Context) (Findings, error) { return partial, nil }, "bad ok 1 "},
	} {
		t.Run(bad.name, func(t *testing.T) {
			d, err := Collect(t.Context(), options(found("first"), collector("bad", bad.collect), found("last")))
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"first ok 1 ", bad.want, "last ok 1 "}
			if got := statuses(d); !slices.Equal(got, want) {
				t.Errorf("sections\n got %q\nwant %q", got, want)
			}
			roundTrip(t, d)
		})
	}
}

func TestCollectorThatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int32
		hangs := collector("hangs", func(context.Context) (Findings, error) {
			calls.Add(1)
			<-release // and does not care for ctx
			return one("Win32_Thing", "late", "test", nil), nil
		})
		hangs.Timeout = 7 * time.Second
		take := func() []string {
			t.Helper()
			d, err := Collect(t.Context(), options(found("first"), hangs, found("last")))
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, d)
			return statuses(d)
		}

		start := time.Now()
		want := []string{"first ok 1 ", "hangs failed 0 no answer within 7s", "last ok 1 "}
		if got := take(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("the inventory took %v", took)
		}
		// While it hangs it is not started again.
		want[1] = "hangs failed 0 still hanging since an earlier inventory"
		if got := take(); !slices.Equal(got, want) || calls.Load() != 1 {
			t.Errorf("got %q after %d calls, want %q after 1", got, calls.Load(), want)
		}
		close(release)
		synctest.Wait()
		want[1] = "hangs ok 1 "
		if got := take(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestCollectRunsNoMoreThanItsParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			running += n
			most = max(most, running)
		}
		o := options()
		o.Parallel = 3
		for i := range 10 {
			o.Collectors = append(o.Collectors, collector(fmt.Sprint(i), func(context.Context) (Findings, error) {
				count(1)
				time.Sleep(time.Second)
				count(-1)
				return Findings{}, nil
			}))
		}
		start := time.Now()
		if _, err := Collect(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); most != 3 || took != 4*time.Second {
			t.Errorf("%d ran at once, all in %v; want 3 and 4s", most, took)
		}
	})
}

func TestCollectEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		release := make(chan struct{})
		hangs := collector("hangs", func(context.Context) (Findings, error) { <-release; return Findings{}, nil })
		start := time.Now()
		d, err := Collect(ctx, options(hangs))
		if d != nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("got %v, %v after %v", d, err, time.Since(start))
		}
		close(release)
	})
}

func TestCollectRefusesAnInventoryOfNobody(t *testing.T) {
	nameless, timeless := options(), options()
	nameless.Identity.Name = ""
	timeless.Now = time.Time{}
	for want, o := range map[string]Options{"no name": nameless, "no time": timeless} {
		if _, err := Collect(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := Collect(t.Context(), options(found("x"))); err != nil {
		t.Error(err)
	}
}
