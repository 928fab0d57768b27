package agentside

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

func TestAgentGivesUpWhatMattersLeast(t *testing.T) {
	order := []struct {
		kind   string
		newest bool
	}{{"Logs", true}, {"Inventories", false}, {"VdiAccess", true}, {"Inventories", true}, {"UsageData", false}}
	last := -1
	for _, o := range order {
		rank := giveUp(uploads.Upload{Kind: o.kind}, o.newest)
		if rank <= last {
			t.Errorf("%s (newest %v) has rank %d, after %d", o.kind, o.newest, rank, last)
		}
		last = rank
	}
}

// lines is a log that a test reads.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAgentSaysWhatItGivesUp(t *testing.T) {
	o := options(t)
	var log lines
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	a := openAgent(t, o)
	defer closeAgent(t, a)
	name, err := uploads.FileName("ws-17", time.Now(), "x", ".log")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.outbox.Put(t.Context(), "Logs", name, time.Now(), 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := a.spool.Expire(time.Now().Add(spoolAge - time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := a.Status().Outbox.Waiting; n != 1 {
		t.Fatalf("before its time: %d files wait", n)
	}
	if err := a.spool.Expire(time.Now().Add(spoolAge + time.Hour)); err != nil {
		t.Fatal(err)
	}
	if s := a.Status().Outbox; s.Waiting != 0 || s.Lost[spool.LossAge] != 1 {
		t.Errorf("%+v", s)
	}
	eventually(t, "a line in the log", func() bool {
		return strings.Contains(log.String(), "upload given up") && strings.Contains(log.String(), name.String())
	})
}

// refusing is a Sink that keeps what it was offered.
type refusing struct{ offered []uploads.Parcel }

func (s *refusing) Group() int { return 1 }
func (s *refusing) Deliver(_ context.Context, ps []uploads.Parcel) []uploads.Delivery {
	s.offered = append(s.offered, ps...)
	return []uploads.Delivery{{Err: errors.New("no")}}
}

func TestFilesSentLateAreMarked(t *testing.T) {
	for age, want := range map[time.Duration]bool{time.Minute: false, lateAfter + time.Minute: true} {
		inner, told := &refusing{}, 0
		s := &sink{Sink: inner, told: func() { told++ }}
		s.Deliver(t.Context(), []uploads.Parcel{{Upload: uploads.Upload{Received: time.Now().Add(-age)}}})
		if inner.offered[0].Recovered != want || told != 1 {
			t.Errorf("after %v: recovered %v", age, inner.offered[0].Recovered)
		}
	}
}

func TestAgentWithOddNameIsWhoItSaysItIs(t *testing.T) {
	b := newBeacon(t)
	o := options(t, b)
	o.Name = "größe/büro (2) at home"
	out, err := once(t, o, DefaultOnceTimeout)
	if err != nil {
		t.Fatal(err)
	}
	name, err := uploads.ParseName(out.Inventory)
	if err != nil || name.Parts().Device != uploads.EscapeDevice(o.Name) {
		t.Errorf("sent as %q, %v", out.Inventory, err)
	}
	for _, c := range b.contacts {
		if c.Name != o.Name {
			t.Errorf("%+v", c)
		}
	}
}

func TestAgentAsksForPolicyOfOddName(t *testing.T) {
	for device, want := range map[string]string{
		"site servers+1": "site servers+1", "größe": "größe", "a/b": "a@2Fb",
	} {
		b := newBeacon(t)
		asked := ""
		b.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			asked = r.URL.Path
			return false
		})
		o := options(t, b)
		o.Name = device
		a := openAgent(t, o)
		if _, _, err := a.Pull(t.Context()); !errors.Is(err, ErrNoPolicy) {
			t.Errorf("%s: %v", device, err)
		}
		closeAgent(t, a)
		if asked != "/ManageSoftDL/Policies/Merged/EXAMPLE_domain/Machine/"+want+".npl" {
			t.Errorf("%s asked for %q", device, asked)
		}
	}
}

func TestOpenGivesUpCleanly(t *testing.T) {
	o := options(t, newBeacon(t))
	o.CA = filepath.Join(t.TempDir(), "none.pem")
	if _, err := Open(o, "test"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a missing file of authorities: %v", err)
	}
	newer := filepath.Join(o.Data, "policy", "current.json")
	if err := os.WriteFile(newer, []byte(`{"version": 99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	o.CA = ""
	if _, err := Open(o, "test"); !errors.Is(err, policy.ErrTooNew) {
		t.Fatalf("a policy store of a newer version: %v", err)
	}
	if err := os.Remove(newer); err != nil {
		t.Fatal(err)
	}
	openAgent(t, o) // nobody holds the data directory
}
