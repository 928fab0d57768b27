package agentside

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/agentside/pull"
	"inventorybeacon/policy"
	"inventorybeacon/schedule"
)

// running runs an agent until the test ends.
func running(t *testing.T, o Options) *Agent {
	t.Helper()
	a := openAgent(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		closeAgent(t, a)
	})
	return a
}

func TestRunFollowsScheduleOfPolicy(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 7, nil, daily("Poll", "policy", schedule.TypeNow), daily("Inventory", "inventory", schedule.TypeNow), daily("Upgrade", "upgrade", schedule.TypeNow))
	o := options(t, b)
	a := running(t, o)
	eventually(t, "inventory sent", func() bool { return len(b.got("Inventories")) == 1 })
	putInOutbox(t, o, "Logs/app.log", "hello")
	eventually(t, "file of the outbox sent", func() bool { return len(b.got("Logs")) == 1 })
	eventually(t, "status written", func() bool {
		s, err := ReadStatus(o.Data)
		return err == nil && s.Holder != nil && s.Policy.Number == 7 && s.Outbox.Waiting == 0 && len(s.Warnings) == 1
	})
	s := a.Status()
	for _, e := range s.Events {
		if e.Run == "upgrade" || !e.BuiltIn && e.Name != "Poll" && e.Name != "Inventory" {
			t.Errorf("%+v", e)
		}
		if e.Name == "Inventory" && (e.Last.IsZero() || e.Next.IsZero() || e.Error != "") {
			t.Errorf("%+v", e)
		}
	}
}

func TestRunRetriesFirstContact(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 1, nil, daily("Poll", "policy"))
	var away atomic.Int32
	away.Store(2)
	b.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if away.Add(-1) < 0 {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	o := options(t, b)
	a := running(t, o)
	eventually(t, "policy, and no failure stands", func() bool {
		p := a.Status().Policy
		return p.Held && p.Failures == 0 && p.Error == ""
	})
}

func TestRunUsesFailoverListOfPolicy(t *testing.T) {
	bootstrap, listed := newBeacon(t), newBeacon(t)
	l, err := location(listed.URL)
	if err != nil {
		t.Fatal(err)
	}
	list := &policy.Failover{Beacons: []policy.Beacon{{Name: "listed", Download: l.Download, Upload: l.Upload, Priority: 1}}}
	bootstrap.publish(t, 1, list, daily("Poll", "policy"), daily("Inventory", "inventory", schedule.TypeNow))
	listed.files = bootstrap.files
	a := running(t, options(t, bootstrap))
	eventually(t, "inventory sent", func() bool { return len(listed.got("Inventories")) == 1 })
	eventually(t, "the agent has heard the answer", func() bool {
		s := a.Status().Beacons
		return len(s) == 2 && s[0].Name == "listed" && s[0].InUse
	})
	if len(bootstrap.got("Inventories")) != 0 {
		t.Error("the bootstrap beacon got the inventory")
	}
}

func TestRunFollowsOnePublisher(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 5, nil, daily("Poll", "policy"))
	o := options(t, b)
	if _, err := once(t, o, DefaultOnceTimeout); err != nil {
		t.Fatal(err)
	}
	b.publish(t, 9, nil, daily("Other poll", "policy"))
	const npl = "Policies/Merged/EXAMPLE_domain/Machine/ws-17.npl"
	b.files[npl] = []byte(strings.Replace(string(b.files[npl]), "centre", "rogue", 1))
	out, err := once(t, o, DefaultOnceTimeout)
	if err == nil || !strings.Contains(err.Error(), "another publisher") || out.Revision != "5" || out.Sent != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if s, err := ReadStatus(o.Data); err != nil || !strings.Contains(s.Policy.Error, "rogue") {
		t.Errorf("%+v, %v", s.Policy, err)
	}
}

// Whatever a policy says, the agent asks for the next one.
func TestPolicyNeverSwitchesPollingOff(t *testing.T) {
	for name, p := range map[string]*pull.Policy{
		"no policy":                      nil,
		"a policy without a schedule":    {},
		"a policy without a policy poll": {Events: []schedule.Event{daily("Inventory", "inventory")}},
		"a policy with one":              {Events: []schedule.Event{daily("Poll", "policy")}},
		"a policy with one that is over": {Events: []schedule.Event{{ID: "over", Name: "Over", Run: "policy", Triggers: []schedule.Trigger{
			{Type: schedule.TypeNow}, {Type: schedule.TypeOnce, Start: schedule.Date{Year: 1999, Month: 1, Day: 1}}}}}},
		"a policy that takes our names": {Events: []schedule.Event{daily("Built-in log upload", "policy"), daily("Built-in policy poll", "inventory")}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var events []schedule.Event
			for _, e := range eventsOf(p) {
				events = append(events, e.Event)
			}
			plan, err := schedule.NewPlan("EXAMPLE/ws-17", nil, schedule.State{})
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.Apply(events, "", time.Now()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			polled, inventories := false, false
			for _, u := range plan.Upcoming(time.Now()) {
				soon := !u.At.IsZero() && time.Until(u.At) <= 24*time.Hour
				polled = polled || u.Event.Run == runPolicy && soon
				inventories = inventories || u.Event.Run == runInventory && soon
			}
			if !polled {
				t.Errorf("%s: no poll within a day", name)
			}
			if p == nil && !inventories {
				t.Errorf("%s: no inventory within a day", name)
			}
		})
	}
}

func TestRunShipsItsLog(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 1, nil, daily("Poll", "policy"))
	a := running(t, options(t, b))
	eventually(t, "policy", func() bool { return a.Status().Policy.Held })
	if err := a.doRun(t.Context(), runLogs); err != nil {
		t.Fatal(err)
	}
	eventually(t, "log sent", func() bool { return len(b.got("Logs")) == 1 })
	if name := b.got("Logs")[0]; !strings.HasPrefix(name, "ws-17 at ") || !strings.HasSuffix(name, " (agent).log.gz") {
		t.Errorf("sent as %q", name)
	}
}
