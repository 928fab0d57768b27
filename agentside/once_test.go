package agentside

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"inventorybeacon/agentside/datadir"
	"inventorybeacon/uploads/contact"
)

func once(t *testing.T, o Options, timeout time.Duration) (Outcome, error) {
	t.Helper()
	a := openAgent(t, o)
	defer closeAgent(t, a)
	return a.Once(t.Context(), timeout)
}

func policyFiles(t *testing.T, o Options) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(o.Data, "policy"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func putInOutbox(t *testing.T, o Options, name, contents string) {
	t.Helper()
	path := filepath.Join(o.Data, "outbox", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

func TestOnceDoesTheWholeRound(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 7, nil, daily("Poll", "policy"), daily("Usage", "usage"))
	o := options(t, b)
	putInOutbox(t, o, "Logs/app.log", "hello")
	out, err := once(t, o, DefaultOnceTimeout)
	if err != nil || !out.Policy || out.Revision != "7" || out.Warning != "" || out.Sent != 2 || out.Receipt == "" {
		t.Fatalf("%+v, %v", out, err)
	}
	if got := b.got("Logs"); len(got) != 1 || got[0] != "ws-17 at 20260102T030405 (app).log" {
		t.Errorf("logs %q", got)
	}
	inventories := b.got("Inventories")
	if len(inventories) != 1 || inventories[0] != out.Inventory || !strings.HasPrefix(out.Inventory, "ws-17 at ") || !strings.HasSuffix(out.Inventory, " (Full).ndi.gz") {
		t.Fatalf("inventories %q, outcome %+v", inventories, out)
	}
	gz, err := gzip.NewReader(bytes.NewReader(b.uploads["Inventories/"+inventories[0]]))
	if err != nil {
		t.Fatal(err)
	}
	if doc, err := io.ReadAll(gz); err != nil || !bytes.Contains(doc, []byte(`MachineName="ws-17"`)) {
		t.Errorf("%.300s, %v", doc, err)
	}
	if policyFiles(t, o) == 0 {
		t.Error("the policy was not kept")
	}
	s, err := ReadStatus(o.Data)
	if err != nil || s.Holder != nil || !s.Policy.Held || s.Policy.Number != 7 || s.Policy.Publisher != "centre" || s.Policy.Error != "" ||
		s.Outbox.Waiting != 0 || len(s.Beacons) != 1 || !s.Beacons[0].InUse || len(s.AgentID) != 32 || len(s.Warnings) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestEveryRequestTellsWhoAsks(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 7, nil, daily("Poll", "policy"))
	requests := atomic.Int32{}
	b.intercept(func(http.ResponseWriter, *http.Request) bool { requests.Add(1); return false })
	o := options(t, b)
	if _, err := once(t, o, DefaultOnceTimeout); err != nil {
		t.Fatal(err)
	}
	s, err := ReadStatus(o.Data)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.contacts) != int(requests.Load()) || len(b.contacts) < 4 {
		t.Fatalf("%d of %d requests told who asks", len(b.contacts), requests.Load())
	}
	for _, c := range b.contacts {
		if c.ID != s.AgentID || c.Name != "ws-17" || c.Domain != "EXAMPLE" || c.Version != "1.2.3" || c.Clock.IsZero() || c.Spool == contact.SpoolUnknown {
			t.Errorf("%+v", c)
		}
	}
	if first, last := b.contacts[0], b.contacts[len(b.contacts)-1]; first.Revision != 0 || last.Revision != 7 || last.Digest != s.Policy.Digest {
		t.Errorf("first %+v, last %+v", first, last)
	}
}

func TestOnceWithoutBundleWarns(t *testing.T) {
	b := newBeacon(t)
	o := options(t, b)
	out, err := once(t, o, DefaultOnceTimeout)
	if err != nil || out.Policy || !strings.Contains(out.Warning, "built-in schedule") || len(b.got("Inventories")) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if policyFiles(t, o) != 0 {
		t.Error("policy/ is not empty before the first policy")
	}

	b.publish(t, 1, nil, daily("Poll", "policy"))
	if out, err := once(t, o, DefaultOnceTimeout); err != nil || !out.Policy || out.Warning != "" {
		t.Fatalf("%+v, %v", out, err)
	}
	b.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			problem(w, 404, "not-found")
		}
		return r.Method == http.MethodGet
	})
	if out, err := once(t, o, DefaultOnceTimeout); err != nil || !out.Policy || !strings.Contains(out.Warning, "last policy") {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestOnceFailsUnlessEverythingArrived(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 1, nil, daily("Poll", "policy"))
	var away atomic.Bool
	away.Store(true)
	b.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if away.Load() {
			w.Write([]byte("<html>Welcome to our hotel, please log in</html>")) // 200, and no receipt
		}
		return away.Load()
	})
	o := options(t, b)
	start := time.Now()
	out, err := once(t, o, 3*time.Second)
	if !errors.Is(err, ErrNotArrived) || out.Policy || out.Sent != 0 || time.Since(start) > 20*time.Second {
		t.Fatalf("%+v, %v", out, err)
	}
	if s, err := ReadStatus(o.Data); err != nil || s.Outbox.Waiting != 1 || s.Outbox.Error == "" || s.Policy.Error == "" {
		t.Errorf("%+v, %v", s, err)
	}
	if policyFiles(t, o) != 0 {
		t.Error("a page was taken for a policy")
	}
	away.Store(false)
	if out, err := once(t, o, DefaultOnceTimeout); err != nil || out.Sent != 2 || len(b.got("Inventories")) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestOnceRefusesPolicyWhoseDigestDoesNotFit(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 1, nil, daily("Poll", "policy"))
	o := options(t, b)
	if _, err := once(t, o, DefaultOnceTimeout); err != nil {
		t.Fatal(err)
	}
	b.publish(t, 2, nil, daily("Other poll", "policy"))
	b.files["Schedules/Default Machine Schedule.nds"] = append(b.files["Schedules/Default Machine Schedule.nds"], ' ')
	out, err := once(t, o, 3*time.Second)
	if err == nil || !strings.Contains(err.Error(), "SHA-256") || out.Revision != "1" || out.Sent != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if s, err := ReadStatus(o.Data); err != nil || s.Policy.Number != 1 || !strings.Contains(s.Policy.Error, "SHA-256") || s.Events[0].Name != "Poll" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestRefusedFileIsSetAside(t *testing.T) {
	b := newBeacon(t)
	b.publish(t, 1, nil, daily("Poll", "policy"))
	var strict atomic.Bool
	strict.Store(true)
	b.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strict.Load() && strings.HasPrefix(r.URL.Path, "/ManageSoftRL/Weather/") {
			problem(w, 415, "bad-kind")
			return true
		}
		return false
	})
	o := options(t, b)
	putInOutbox(t, o, "Weather/rain.csv", "1,2")
	putInOutbox(t, o, "Logs/app.log", "hello")
	putInOutbox(t, o, "Inventories/wrong.exe", "x")
	start := time.Now()
	out, err := once(t, o, DefaultOnceTimeout)
	if !errors.Is(err, ErrNotArrived) || !strings.Contains(err.Error(), "rain") || !strings.Contains(err.Error(), "wrong.exe") || strings.Contains(err.Error(), "\n") || out.Sent != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("waited %v although nothing was left to send", took)
	}
	s, err := ReadStatus(o.Data)
	if err != nil || len(s.Outbox.Aside) != 1 || !strings.Contains(s.Outbox.Aside[0].Reason, "bad-kind") || s.Outbox.Aside[0].Kind != "Weather" ||
		len(s.Outbox.Stuck) != 1 || s.Outbox.Stuck[0].File != "wrong.exe" {
		t.Errorf("%+v, %v", s.Outbox, err)
	}
	strict.Store(false)
	if err := os.Remove(filepath.Join(o.Data, "outbox", "Inventories", "wrong.exe")); err != nil {
		t.Fatal(err)
	}
	if out, err := once(t, o, DefaultOnceTimeout); err != nil || out.Sent != 2 || len(b.got("Weather")) != 1 {
		t.Fatalf("after the beacon was corrected: %+v, %v", out, err)
	}
}

func TestUploadFallsBackWhenBeaconDiesInTheMiddle(t *testing.T) {
	first, second := newBeacon(t), newBeacon(t)
	first.publish(t, 1, nil, daily("Poll", "policy"))
	second.files = first.files
	first.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		io.CopyN(io.Discard, r.Body, 100)
		panic(http.ErrAbortHandler)
	})
	o := options(t, first, second)
	if out, err := once(t, o, DefaultOnceTimeout); err != nil || out.Sent != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if len(first.got("Inventories")) != 0 || len(second.got("Inventories")) != 1 || second.repeats != 0 {
		t.Errorf("first %q, second %q", first.got("Inventories"), second.got("Inventories"))
	}
}

func TestUploadSendsOutbox(t *testing.T) {
	b := newBeacon(t)
	o := options(t, b)
	putInOutbox(t, o, "UsageData/weekly.mmi", "usage")
	a := openAgent(t, o)
	defer closeAgent(t, a)
	if n, err := a.Upload(t.Context()); n != 1 || err != nil || len(b.got("UsageData")) != 1 {
		t.Errorf("%d, %v", n, err)
	}
	if b.polls != 0 {
		t.Error("asked for a policy")
	}
}

func TestPullTellsWhatItDid(t *testing.T) {
	b := newBeacon(t)
	o := options(t, b)
	a := openAgent(t, o)
	defer closeAgent(t, a)
	if _, changed, err := a.Pull(t.Context()); changed || !errors.Is(err, ErrNoPolicy) {
		t.Errorf("no bundle: %v, %v", changed, err)
	}
	b.publish(t, 1, nil, daily("Poll", "policy"))
	for i, want := range []bool{true, false} {
		if s, changed, err := a.Pull(t.Context()); changed != want || err != nil || s.Policy.Number != 1 {
			t.Errorf("pull %d: %v, %v", i, changed, err)
		}
	}
	if len(b.got("Inventories")) != 0 {
		t.Error("sent an inventory")
	}
}

func TestDataDirectoryHasOneProcess(t *testing.T) {
	o := options(t)
	a := openAgent(t, o)
	defer closeAgent(t, a)
	if _, err := Open(o, "second"); !errors.Is(err, datadir.ErrHeld) || !strings.Contains(err.Error(), "test (process") {
		t.Errorf("%v", err)
	}
}

func TestInventoryNeedsNoDataDirectory(t *testing.T) {
	var out bytes.Buffer
	o := Options{Data: filepath.Join(t.TempDir(), "none"), Name: "a/b"}
	if err := Inventory(context.Background(), o, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `MachineName="a/b"`) {
		t.Errorf("%.300s", out.String())
	}
	if _, err := os.Stat(o.Data); !errors.Is(err, os.ErrNotExist) {
		t.Error("made a data directory")
	}
}

func TestReadStatusOfNothing(t *testing.T) {
	if _, err := ReadStatus(t.TempDir()); !errors.Is(err, ErrNoStatus) {
		t.Errorf("%v", err)
	}
}
