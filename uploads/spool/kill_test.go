package spool_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// The test binary runs itself as the process to be killed.
const (
	childDir  = "SPOOL_TEST_CHILD_DIR"
	childSeed = "SPOOL_TEST_CHILD_SEED"
	// killRounds is how often it is killed, if more than usual is wanted.
	killRounds = "SPOOL_KILL_ROUNDS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir, os.Getenv(childSeed))
		return
	}
	os.Exit(m.Run())
}

// child accepts and delivers until it is killed, and says what was acknowledged.
func child(dir, seed string) {
	s, err := spool.Open(dir, recycling())
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...) // one write, straight to the pipe
	}
	for c := range 4 {
		go func() {
			for i := 0; ; i++ {
				n, _ := uploads.ParseName(fmt.Sprintf("s%s c%d n%d.ndi", seed, c, i))
				body := content(c*100000+i, []int{10, 3000, 20 << 10, 100 << 10}[i%4])
				r, err := s.Accept(context.Background(), spool.Draft{Kind: kind, Name: n, Length: -1}, bytes.NewReader(body))
				if err != nil {
					say("failed %v", err)
					return
				}
				say("accepted %s", r.ID)
			}
		}()
	}
	for after := uint64(0); ; {
		page := s.Pending("up", after, 20)
		if len(page) == 0 {
			<-s.Added("up")
		}
		for _, u := range page {
			after = u.Seq
			if u.Seq%16 == 0 {
				continue // stays, so that segments are pinned and compacted
			}
			b, err := s.Body(u.Seq)
			if err != nil {
				say("failed %v", err)
				continue
			}
			if _, err := io.Copy(io.Discard, b); err != nil {
				say("failed %v", err)
			}
			b.Close()
			if err := s.Deliver("up", []spool.Mark{{Seq: u.Seq}}); err != nil {
				say("failed %v", err)
			}
			say("delivered %s", u.Receipt().ID)
		}
	}
}

// TestKillLosesNothing kills a process that accepts uploads at random instants:
// whatever it acknowledged is held, or was delivered and stays so.
func TestKillLosesNothing(t *testing.T) {
	rounds := 15
	if v, err := strconv.Atoi(os.Getenv(killRounds)); err == nil {
		rounds = v
	}
	dir := t.TempDir()
	accepted, delivered := map[string]bool{}, map[string]bool{}
	for round := range rounds {
		for _, line := range killed(t, dir, round) {
			what, id, _ := strings.Cut(line, " ")
			switch what {
			case "accepted":
				accepted[id] = true
			case "delivered":
				delivered[id] = true
			default:
				t.Fatalf("round %d: %s", round, line)
			}
		}
		checkKilled(t, dir, accepted, delivered)
	}
	if len(accepted) < rounds || len(delivered) == 0 {
		t.Errorf("only %d accepted and %d delivered in %d rounds", len(accepted), len(delivered), rounds)
	}
	t.Logf("%d rounds, %d accepted, %d delivered", rounds, len(accepted), len(delivered))
}

// killed runs a child until it is killed and returns what it said.
func killed(t *testing.T, dir string, round int) (lines []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childSeed+"="+strconv.Itoa(round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for in.Scan() {
		if lines = append(lines, in.Text()); len(lines) == 1 {
			time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait() // it was killed
	return lines
}

func checkKilled(t *testing.T, dir string, accepted, delivered map[string]bool) {
	t.Helper()
	s := open(t, dir, recycling())
	defer s.Close()
	if rec := s.Recovery(); len(rec.Lost)+len(rec.Unknown)+rec.DamagedReceipts > 0 {
		t.Errorf("recovery %+v", rec)
	}
	pending := map[string]int{}
	for _, u := range s.Pending("up", 0, 1<<30) {
		pending[u.Receipt().ID]++
		if got := read(t, s, u.Seq); uploads.DigestOf(got) != u.Digest {
			t.Errorf("%s: wrong bytes", u.Name)
		}
	}
	gone, left := map[string]bool{}, map[string]bool{}
	for e, err := range s.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		gone[e.Upload.Receipt().ID] = true
		if e.Left {
			left[e.Upload.Receipt().ID] = true
		}
	}
	for id := range accepted {
		if !gone[id] || pending[id] == 0 && !left[id] {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	for id := range delivered {
		if pending[id] != 0 || !left[id] {
			t.Errorf("%s was delivered and is pending", id)
		}
	}
	for id, n := range pending {
		if n > 1 {
			t.Errorf("%s is pending %d times", id, n)
		}
	}
}
