package route

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/agentside/pull"
	"inventorybeacon/failover"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent"
)

func at(name string, priority int) failover.Location {
	return failover.Location{Name: name, Download: "http://" + name + ".test/ManageSoftDL", Upload: "http://" + name + ".test/ManageSoftRL", Priority: priority}
}

// prober is a Prober whose world a test sets.
type prober struct {
	mu       sync.Mutex
	healthy  map[string]bool
	rtt      map[string]time.Duration
	checked  int
	measured int
}

func (p *prober) Check(_ context.Context, l failover.Location) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checked++
	if p.healthy[l.Name] {
		return time.Millisecond, nil
	}
	return 0, errors.New("down")
}

func (p *prober) Measure(_ context.Context, _ failover.Needs, ls []failover.Location) failover.Facts {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.measured++
	f := failover.Facts{RTT: map[string]time.Duration{}}
	for _, l := range ls {
		if d, ok := p.rtt[l.Name]; ok {
			f.RTT[l.ID()] = d
		}
	}
	return f
}

func (p *prober) set(name string, healthy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.healthy[name] = healthy
}

func order(t *testing.T, r *Route) (names string) {
	t.Helper()
	for _, l := range r.Downloads(t.Context()) {
		names += l.Name
	}
	return names
}

func TestRouteKeepsBootstrapAsLastResort(t *testing.T) {
	r := New(Options{Bootstrap: []failover.Location{at("x", 1), at("b", 2)}, Prober: &prober{}})
	if got := order(t, r); got != "xb" {
		t.Errorf("without a policy: %s", got)
	}
	a, b := at("a", 2), at("b", 1)
	gone := at("c", 3)
	gone.Invalid = true
	if err := r.Replace(&pull.Failover{Locations: []failover.Location{a, b, gone}}); err != nil {
		t.Fatal(err)
	}
	if got := order(t, r); got != "bax" {
		t.Errorf("with a policy: %s", got)
	}
	r.Report(b, errors.New("refused"))
	if got := order(t, r); got != "abx" {
		t.Errorf("after b failed: %s", got)
	}
	if err := r.Replace(nil); err != nil {
		t.Fatal(err)
	}
	if got := order(t, r); got != "xb" {
		t.Errorf("without a list again: %s", got)
	}
}

func TestRouteGoesBackToPreferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := &prober{healthy: map[string]bool{}}
		changes := 0
		r := New(Options{Prober: p, Changed: func() { changes++ }})
		if err := r.Replace(&pull.Failover{Locations: []failover.Location{at("a", 1), at("b", 2)}}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		r.Report(at("a", 1), nil)
		r.Report(at("a", 1), errors.New("killed"))
		r.Report(at("b", 2), nil)
		r.Report(at("b", 2), nil)
		time.Sleep(time.Hour)
		if got := order(t, r); got != "ba" && got != "ab" {
			t.Errorf("while a is down: %s", got)
		}
		p.mu.Lock()
		if p.checked == 0 || p.checked > 200 {
			t.Errorf("%d checks in an hour", p.checked)
		}
		p.mu.Unlock()
		p.set("a", true)
		time.Sleep(5 * time.Minute)
		if got := order(t, r); got != "ab" || r.Standings()[0].Failures != 0 {
			t.Errorf("after a came back: %s", got)
		}
		p.mu.Lock()
		before := p.checked
		p.mu.Unlock()
		time.Sleep(time.Hour)
		p.mu.Lock()
		if p.checked != before {
			t.Errorf("%d checks of healthy beacons", p.checked-before)
		}
		p.mu.Unlock()
		if changes != 2 {
			t.Errorf("told %d times that another beacon is in use", changes)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestRouteMeasuresNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &prober{rtt: map[string]time.Duration{"a": 90 * time.Millisecond, "b": time.Millisecond}}
		r := New(Options{Prober: p})
		a, b := at("a", 1), at("b", 2)
		a.Auto, b.Auto = true, true
		if err := r.Replace(&pull.Failover{Selector: "MgsPing", Locations: []failover.Location{a, b}}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if got := order(t, r); got != "ba" {
				t.Errorf("order %s", got)
			}
		}
		if p.measured != 1 {
			t.Errorf("measured %d times for a burst", p.measured)
		}
		time.Sleep(time.Minute + time.Second)
		p.rtt = map[string]time.Duration{"a": time.Millisecond, "b": 90 * time.Millisecond}
		if got := order(t, r); got != "ab" || p.measured != 2 {
			t.Errorf("later: %s, measured %d times", got, p.measured)
		}
	})
}

func TestRouteTellsVerdictsFromFailures(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "ab"}, {pull.ErrNoPolicy, "ab"}, {pull.ErrOlder, "ab"}, {pull.ErrPublisher, "ab"},
		{pull.ErrRefused, "ba"}, {errors.New("refused"), "ba"},
		{&uploads.RetryError{After: time.Minute, Err: errors.New("busy")}, "ba"},
	} {
		r := New(Options{Bootstrap: []failover.Location{at("a", 1), at("b", 2)}, Prober: &prober{}})
		r.Report(at("a", 1), tt.err)
		if got := order(t, r); got != tt.want {
			t.Errorf("after %v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestRouteNamesProxyOfLocation(t *testing.T) {
	r := New(Options{Prober: &prober{}})
	a, b := at("a", 1), at("b", 2)
	b.Proxy = "http://proxy.test:3128"
	if err := r.Replace(&pull.Failover{Locations: []failover.Location{a, b}}); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"http://b.test/ManageSoftDL/x": b.Proxy, "http://B.test/ManageSoftRL": b.Proxy, "http://a.test/ManageSoftDL/x": "",
		"https://b.test/ManageSoftDL/x": "", "http://b.test/other": "", "http://b.test/ManageSoftDLx": "",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Proxy(u); got != want {
			t.Errorf("%s: proxy %q, want %q", address, got, want)
		}
	}
}

func TestUploadsKnowTheSameBeacons(t *testing.T) {
	a, b := at("a", 1), at("b", 2)
	b.Upload = ""
	r := New(Options{Bootstrap: []failover.Location{a, b, at("c", 3)}, Prober: &prober{}})
	u := Uploads{r}
	got := u.Order(t.Context())
	if len(got) != 2 || got[0].Root != a.Upload || got[1].Name != "c" {
		t.Fatalf("%+v", got)
	}
	u.Report(parent.Location{Name: "a", Root: a.Upload}, errors.New("refused"))
	if got := order(t, r); got != "bca" {
		t.Errorf("downloads after a failed upload: %s", got)
	}
}

// hanging is a Prober of a network that swallows everything.
type hanging struct{ prober }

func (*hanging) Measure(ctx context.Context, _ failover.Needs, _ []failover.Location) failover.Facts {
	<-ctx.Done()
	return failover.Facts{}
}

func TestRouteDoesNotWaitLongForMeasurements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{Prober: &hanging{}})
		a, b := at("a", 1), at("b", 2)
		a.Auto, b.Auto = true, true
		if err := r.Replace(&pull.Failover{Selector: "MgsPing;MgsBandwidth", Locations: []failover.Location{a, b}}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if got := order(t, r); got != "ab" {
			t.Errorf("order %s", got)
		}
		if took := time.Since(start); took+pull.TryTimeout > 30*time.Second {
			t.Errorf("measured for %v: a try would take more than 30 s", took)
		}
	})
}
