package pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/agentside/transport"
	"inventorybeacon/failover"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
)

// seeded returns FirstContact with a randomness of its own, so that a run can be
// repeated.
func seeded(n uint64) backoff.Backoff {
	b := FirstContact
	b.Rand = rand.New(rand.NewPCG(n, 1)).Float64
	return b
}

// unlucky returns FirstContact with the longest waits there can be.
func unlucky() backoff.Backoff {
	b := FirstContact
	b.Rand = func() float64 { return 1 }
	return b
}

// A pipeNet is a network in which one beacon can be away, in one of several ways.
type pipeNet struct {
	away  atomic.Bool
	how   func(ctx context.Context) (net.Conn, error)
	conns chan net.Conn
	done  chan struct{}
}

func (n *pipeNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if n.away.Load() || address != "beacon.test:80" {
		return n.how(ctx)
	}
	client, server := net.Pipe()
	select {
	case n.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}
func (n *pipeNet) Close() error   { return nil }
func (n *pipeNet) Addr() net.Addr { return &net.UnixAddr{} }

func refused(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }

func silent(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, transport.DialTimeout) // as net.Dialer does
	defer cancel()
	<-ctx.Done()
	return nil, ctx.Err()
}

// mute takes connections and says nothing.
func mute(context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		for b := make([]byte, 4096); ; {
			if _, err := server.Read(b); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// The whole path is real but for the wire: the persistent loop, the walk over
// the list, the HTTP client and the documents.
func TestFirstContactSucceedsWithinFiveMinutesOfBeaconsReturn(t *testing.T) {
	const bound = 5 * time.Minute
	body := whole(t)
	three := []failover.Location{
		{Name: "dead-1", Download: "http://dead-1.test/ManageSoftDL"}, {Name: "dead-2", Download: "http://dead-2.test/ManageSoftDL"},
		{Name: "beacon", Download: "http://beacon.test/ManageSoftDL"},
	}
	for _, away := range []time.Duration{0, time.Minute, time.Hour, 7 * 24 * time.Hour} {
		for name, how := range map[string]func(context.Context) (net.Conn, error){"refused": refused, "silent": silent, "mute": mute} {
			for _, list := range [][]failover.Location{three[2:], three} {
				if away > 24*time.Hour && len(list) > 1 {
					continue // thousands of tries tell no more than those of an hour
				}
				for luck, rhythm := range map[string]backoff.Backoff{"usual": seeded(uint64(away)), "worst": unlucky()} {
					t.Run(fmt.Sprintf("away %v %s of %d %s luck", away, name, len(list), luck), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) {
							took := contact(t, rhythm, list, away, how, files(t, revision(1), body))
							if took > bound {
								t.Errorf("policy %v after the beacon's return, want %v at most", took, bound)
							}
						})
					})
				}
			}
		}
	}
}

// contact runs an agent's polling until it has the policy and returns how long
// after the beacon's return that was.
func contact(t *testing.T, rhythm backoff.Backoff, list []failover.Location, away time.Duration, how func(context.Context) (net.Conn, error), f map[string][]byte) time.Duration {
	n := &pipeNet{how: how, conns: make(chan net.Conn), done: make(chan struct{})}
	n.away.Store(away > 0)
	tr := &tree{}
	tr.set(f)
	srv := &http.Server{Handler: tr}
	var running sync.WaitGroup
	running.Go(func() { srv.Serve(n) })
	h, err := transport.New(transport.Options{Dial: n.dial})
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{HTTP: h, Device: device, Log: slog.New(slog.DiscardHandler)}
	back := time.Now().Add(away)
	running.Go(func() {
		time.Sleep(away)
		n.away.Store(false)
	})
	var got *Policy
	err = Persist{Backoff: rhythm}.Run(t.Context(), func(ctx context.Context) error {
		var err error
		got, _, err = Walk(ctx, list, func(ctx context.Context, at failover.Location, answered func()) (*Policy, error) {
			return c.Fetch(ctx, at, nil, answered)
		}, func(failover.Location, error) {})
		return err
	})
	took := time.Since(back)
	if err != nil || got == nil || got.Revision.Number != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	h.CloseIdleConnections()
	close(n.done)
	srv.Close()
	running.Wait()
	return took
}

func TestFleetDoesNotStampede(t *testing.T) {
	const agents, away = 10_000, time.Hour
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(away)
		var mu sync.Mutex
		perSecond := map[int]int{}
		last, slowest := 0, time.Duration(0)
		var fleet sync.WaitGroup
		for i := range agents { // all start at once, as after a power cut
			fleet.Go(func() {
				err := Persist{Backoff: seeded(uint64(i))}.Run(t.Context(), func(context.Context) error {
					if time.Now().Before(back) {
						return errors.New("connection refused")
					}
					since := time.Since(back)
					mu.Lock()
					defer mu.Unlock()
					perSecond[int(since/time.Second)]++
					last, slowest = max(last, int(since/time.Second)), max(slowest, since)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		fleet.Wait()
		peak, sum := 0, 0
		for _, n := range perSecond {
			peak, sum = max(peak, n), sum+n
		}
		mean := float64(sum) / float64(last+1)
		t.Logf("%d agents in %v: %.1f a second, %d in the worst", sum, slowest, mean, peak)
		if sum != agents || slowest > MaxWait {
			t.Errorf("%d agents have their policy, the last after %v", sum, slowest)
		}
		// A fleet that comes all at once is its own mean: hold it to an even spread too.
		if even := float64(agents) / MaxWait.Seconds(); float64(peak) > 3*even {
			t.Errorf("%d in one second, more than 3 times the %.1f of an even spread", peak, even)
		}
		if float64(peak) > 3*mean {
			t.Errorf("%d in one second, more than 3 times the mean of %.1f", peak, mean)
		}
	})
}

func TestPersistObeysRetryAfter(t *testing.T) {
	for _, tt := range []struct{ asked, least, most time.Duration }{
		{0, 0, MinWait},
		{10 * time.Minute, 10 * time.Minute, 10 * time.Minute},
		{24 * time.Hour, maxRetryAfter, maxRetryAfter},
	} {
		synctest.Test(t, func(t *testing.T) {
			start, tries := time.Now(), 0
			err := Persist{Backoff: seeded(1)}.Run(t.Context(), func(context.Context) error {
				if tries++; tries == 1 {
					return &uploads.RetryError{After: tt.asked, Err: errors.New("busy")}
				}
				return nil
			})
			if took := time.Since(start); err != nil || took < tt.least || took > tt.most {
				t.Errorf("asked for %v: tried again after %v, %v", tt.asked, took, err)
			}
		})
	}
}

func TestPersistWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{}, 1)
		failed := make(chan time.Time, 1)
		b := backoff.Backoff{Min: time.Hour, Max: time.Hour, Rand: func() float64 { return 1 }}
		done := make(chan error)
		tries := 0
		start := time.Now()
		go func() {
			p := Persist{Backoff: b, Wake: wake, Failed: func(n int, err error, next time.Time) { failed <- next }}
			done <- p.Run(t.Context(), func(context.Context) error {
				if tries++; tries == 1 {
					return errors.New("no network")
				}
				return nil
			})
		}()
		if next := <-failed; !next.Equal(start.Add(time.Hour)) {
			t.Errorf("next try at %v", next)
		}
		time.Sleep(time.Second)
		wake <- struct{}{}
		if err := <-done; err != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestPersistEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := Persist{Backoff: seeded(1)}.Run(ctx, func(context.Context) error { return errors.New("never") })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestWalkAsksWholeListInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list []failover.Location
		for i := range 40 {
			list = append(list, failover.Location{Name: fmt.Sprint(i), Download: fmt.Sprint("http://", i)})
		}
		var mu sync.Mutex
		var asked []string
		start := time.Now()
		_, _, err := Walk(t.Context(), list, func(ctx context.Context, at failover.Location, _ func()) (int, error) {
			mu.Lock()
			asked = append(asked, at.Name)
			mu.Unlock()
			<-ctx.Done()
			return 0, ctx.Err()
		}, func(failover.Location, error) {})
		if took := time.Since(start); err == nil || took != TryTimeout {
			t.Errorf("%v after %v", err, took)
		}
		if len(asked) != len(list) || !slices.IsSortedFunc(asked, func(a, b string) int { return len(a) - len(b) }) {
			t.Errorf("asked %v", asked)
		}
	})
}

func TestWalkLetsSlowBeaconFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := []failover.Location{{Name: "slow", Download: "http://slow.test"}}
		got, _, err := Walk(t.Context(), list, func(ctx context.Context, _ failover.Location, answered func()) (int, error) {
			time.Sleep(20 * time.Second)
			answered()
			time.Sleep(2 * time.Minute)
			return 1, ctx.Err()
		}, func(failover.Location, error) {})
		if err != nil || got != 1 {
			t.Errorf("%d, %v", got, err)
		}
	})
}

func TestWalkHoldsRestOnlyIfAllAskForIt(t *testing.T) {
	list := []failover.Location{{Name: "a", Download: "a"}, {Name: "b", Download: "b"}}
	busy := func(d time.Duration) error { return &uploads.RetryError{After: d, Err: errors.New("busy")} }
	for _, tt := range []struct {
		errs    []error
		after   time.Duration
		verdict bool
	}{
		{[]error{busy(time.Minute), busy(time.Second)}, time.Second, false},
		{[]error{busy(time.Minute), errors.New("refused")}, 0, false},
		{[]error{ErrNoPolicy, ErrOlder}, 0, true},
		{[]error{ErrNoPolicy, errors.New("refused")}, 0, false},
	} {
		_, _, err := Walk(t.Context(), list, func(_ context.Context, at failover.Location, _ func()) (int, error) {
			return 0, tt.errs[at.Name[0]-'a']
		}, func(failover.Location, error) {})
		var after time.Duration
		if rest, ok := errors.AsType[*uploads.RetryError](err); ok {
			after = rest.After
		}
		if after != tt.after || Verdict(err) != tt.verdict {
			t.Errorf("%v: asks for %v, verdict %v", err, after, Verdict(err))
		}
	}
}
