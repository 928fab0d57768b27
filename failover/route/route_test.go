package route_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/failover"
	"inventorybeacon/failover/route"
)

func at(name string, priority int) failover.Location {
	return failover.Location{Name: name, Upload: "https://" + name + ".test/ManageSoftRL", Priority: priority, Proxy: "http://proxy-" + name + ":3128"}
}

// up is a Prober to which every server answers.
type up struct{ measured int }

func (*up) Check(context.Context, failover.Location) (time.Duration, error) {
	return time.Millisecond, nil
}

func (u *up) Measure(_ context.Context, _ failover.Needs, ls []failover.Location) failover.Facts {
	u.measured++
	f := failover.Facts{RTT: map[string]time.Duration{}}
	for i, l := range ls {
		f.RTT[l.ID()] = time.Duration(len(ls)-i) * time.Millisecond // the last is the nearest
	}
	return f
}

func order(t *testing.T, r *route.Route) (names string) {
	for _, l := range r.Order(t.Context()) {
		names += l.Name
	}
	return names
}

func TestRouteFollowsListHealthAndWishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := route.New(route.Options{Prober: &up{}})
		a, b, c := at("a", 1), at("b", 2), at("c", 3)
		if err := r.Replace("", []failover.Location{c, b, a}); err != nil {
			t.Fatal(err)
		}
		if got := order(t, r); got != "abc" {
			t.Errorf("at first: %s", got)
		}
		r.Report(a, errors.New("down"))
		r.Avoid(b, time.Hour)
		if got := order(t, r); got != "cab" {
			t.Errorf("a failed and b wants to be left alone: %s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		if got := order(t, r); got != "acb" {
			t.Errorf("a is well again: %s", got)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestRouteMeasuresForItsSelector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &up{}
		r := route.New(route.Options{Prober: u})
		a, b := at("a", 1), at("b", 2)
		a.Auto, b.Auto = true, true
		if err := r.Replace("MgsPing", []failover.Location{a, b}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if got := order(t, r); got != "ba" {
				t.Errorf("order %s", got)
			}
		}
		if u.measured != 1 {
			t.Errorf("measured %d times", u.measured)
		}
		if err := r.Replace("MgsNonsense(", nil); err == nil {
			t.Error("took a broken selector")
		}
	})
}

func TestRouteKnowsProxies(t *testing.T) {
	r := route.New(route.Options{Prober: &up{}})
	if err := r.Replace("", []failover.Location{at("a", 1), at("b", 2)}); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"https://b.test/ManageSoftRL/Logs/x.log": "http://proxy-b:3128",
		"https://B.test/ManageSoftRL":            "http://proxy-b:3128",
		"https://b.test/other":                   "",
		"http://b.test/ManageSoftRL/Logs/x.log":  "",
		"https://c.test/ManageSoftRL/":           "",
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
