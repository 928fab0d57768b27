package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
)

func TestTellerTellsEachLossOnce(t *testing.T) {
	f, file := fakeSpool(), stateFile(t)
	tell := teller(t, f, file)
	for i := range 3 {
		f.lose(t, upload(t, fmt.Sprintf("ws%d at 20260301T110000.log", i)), began.Add(time.Duration(i)*time.Second))
	}
	for range 3 {
		if err := tell.Tell(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.deliver()
	}
	want := []string{"edge-1 at 20260301T120002 (losses).ndjson: ws0 at 20260301T110000.log ws1 at 20260301T110000.log ws2 at 20260301T110000.log"}
	if got := f.reports(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	f.lose(t, upload(t, "late at 20260301T110000.log"), began) // the clock went back
	tell = teller(t, f, file)
	if err := tell.Tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	want = append(want, "edge-1 at 20260301T120003 (losses).ndjson: late at 20260301T110000.log")
	if got := f.reports(); !slices.Equal(got, want) {
		t.Errorf("after a restart: %q, want %q", got, want)
	}
	if s := tell.Status(); s != (Status{Told: 1, Reports: 1}) {
		t.Errorf("%+v", s)
	}
}

// Losses of a report that was taken back are told again, and by no file of its
// name: that one is known to have been there.
func TestWithdrawnReportIsToldLater(t *testing.T) {
	f, file := fakeSpool(), stateFile(t)
	tell := teller(t, f, file)
	f.lose(t, upload(t, "first at 20260301T110000.log"), began)
	for _, step := range []func() error{
		tell.Withdraw, // there is nothing
		func() error { return tell.Tell(t.Context()) },
		tell.Withdraw,
		teller(t, f, file).Withdraw,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if f.superseded != 1 {
		t.Errorf("%d files were taken back", f.superseded)
	}
	tell = teller(t, f, file)
	if err := tell.Tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"edge-1 at 20260301T120000 (losses).ndjson: first at 20260301T110000.log",
		"edge-1 at 20260301T120001 (losses).ndjson: first at 20260301T110000.log",
	}
	if got := f.reports(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	f.deliver()
	if err := errors.Join(tell.Withdraw(), tell.Tell(t.Context())); err != nil || len(f.reports()) != 2 || f.superseded != 1 {
		t.Errorf("one that was delivered: %v, %q, %d taken back", err, f.reports(), f.superseded)
	}
}

// A report that could not be taken back is tried again at the next start.
func TestWithdrawalIsTriedAgain(t *testing.T) {
	f, file := fakeSpool(), stateFile(t)
	f.lose(t, upload(t, "first at 20260301T110000.log"), began)
	tell := teller(t, f, file)
	if err := tell.Tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	sha := uploads.DigestOf([]byte(f.bodies[0]))
	f.failSupersede = errors.New("disk on fire")
	if err := tell.Withdraw(); !errors.Is(err, f.failSupersede) {
		t.Errorf("%v", err)
	}
	f.failSupersede, f.held[sha] = nil, true
	if err := teller(t, f, file).Withdraw(); err != nil || f.superseded != 2 || f.held[sha] {
		t.Errorf("%v, %d taken back", err, f.superseded)
	}
}

// Wherever it was interrupted, the same file is made again, and what was lost since
// is for the next.
func TestReportIsTheSameAfterACrash(t *testing.T) {
	for name, crash := range map[string]func(*fake, error){
		"before the spool has it":     func(f *fake, err error) { f.fail = err },
		"before it is known to be in": func(f *fake, err error) { f.failLate = err },
	} {
		t.Run(name, func(t *testing.T) {
			f, file := fakeSpool(), stateFile(t)
			f.lose(t, upload(t, "first at 20260301T110000.log"), began)
			crash(f, errors.New("power cut"))
			if err := teller(t, f, file).Tell(t.Context()); err == nil {
				t.Fatal("no crash; the test shows nothing")
			}
			crash(f, nil)
			f.lose(t, upload(t, "second at 20260301T110000.log"), began.Add(time.Second))
			tell := teller(t, f, file)
			for range 3 {
				if err := tell.Tell(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.deliver()
			}
			want := []string{"edge-1 at 20260301T120000 (losses).ndjson: first at 20260301T110000.log", "edge-1 at 20260301T120001 (losses).ndjson: second at 20260301T110000.log"}
			if got := f.reports(); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestNextReportWaitsForTheOneBefore(t *testing.T) {
	f := fakeSpool()
	tell := teller(t, f, stateFile(t))
	for i := range 5 {
		f.lose(t, uploads.Upload{}, began.Add(time.Duration(i)*time.Minute))
		if err := tell.Tell(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.reports()); n != 1 {
		t.Fatalf("%d reports while the first waits", n)
	}
	if s := tell.Status(); s.Untold != 4 {
		t.Errorf("%+v", s)
	}
	f.deliver()
	if err := tell.Tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(f.reports()); n != 2 {
		t.Errorf("%d reports after it was delivered", n)
	}
}

// A report that is lost is not told of, else that would never end. Somebody else's
// is.
func TestOwnReportsAreNotTold(t *testing.T) {
	f, file := fakeSpool(), stateFile(t)
	tell := teller(t, f, file)
	own := upload(t, "edge-1 at 20260301T120000 (losses).ndjson")
	own.Kind, own.Peer = Kind, ""
	f.lose(t, own, began)
	if err := tell.Tell(t.Context()); err != nil || len(f.reports()) != 0 {
		t.Fatalf("%q, %v", f.reports(), err)
	}
	theirs := upload(t, "edge-2 at 20260301T120000 (losses).ndjson")
	theirs.Kind, theirs.Via = Kind, []string{"edge-2"}
	f.lose(t, theirs, began)
	if err := tell.Tell(t.Context()); err != nil || len(f.reports()) != 1 {
		t.Errorf("%q, %v", f.reports(), err)
	}
}

func TestTellerBeginsAnewWithAnotherSpool(t *testing.T) {
	for name, seen := range map[string]bool{"at the start": false, "while it runs": true} {
		t.Run(name, func(t *testing.T) {
			file := stateFile(t)
			old := fakeSpool()
			for range 9 {
				old.lose(t, uploads.Upload{}, began)
			}
			if err := teller(t, old, file).Tell(t.Context()); err != nil {
				t.Fatal(err)
			}
			f := fakeSpool()
			lose := func() { f.lose(t, upload(t, "new at 20260301T110000.log"), began.Add(time.Hour)) }
			if !seen {
				lose()
			}
			tell := teller(t, f, file)
			if seen {
				lose()
			}
			if err := tell.Tell(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := f.reports(); len(got) != 1 || !strings.Contains(got[0], "new at") {
				t.Errorf("%q", got)
			}
		})
	}
}

// Losses that come together are told together, within a minute, and those of an
// outage a report at a time.
func TestRunGathersLosses(t *testing.T) {
	file := stateFile(t)
	synctest.Test(t, func(t *testing.T) {
		f := fakeSpool()
		tell := teller(t, f, file)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- tell.Run(ctx) }()
		synctest.Wait()
		f.lose(t, uploads.Upload{}, time.Now())
		time.Sleep(Gather / 2)
		f.lose(t, uploads.Upload{}, time.Now())
		synctest.Wait()
		if n := len(f.reports()); n != 0 {
			t.Errorf("%d reports after half a minute", n)
		}
		time.Sleep(Gather/2 + time.Second)
		synctest.Wait()
		if got := f.reports(); len(got) != 1 || strings.Count(got[0], ".log") != 2 {
			t.Errorf("%q after a minute", got)
		}
		for range 2*perReport + 1 {
			f.lose(t, uploads.Upload{}, time.Now())
		}
		var sizes []int
		for range 3 {
			f.deliver()
			time.Sleep(Gather + time.Second)
			synctest.Wait()
			got := f.reports()
			sizes = append(sizes, strings.Count(got[len(got)-1], ".log"))
		}
		if !slices.Equal(sizes, []int{perReport, perReport, 1}) {
			t.Errorf("reports of %v losses", sizes)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestRunTriesAgain(t *testing.T) {
	file := stateFile(t)
	synctest.Test(t, func(t *testing.T) {
		f := fakeSpool()
		f.fail = uploads.ErrFull
		f.lose(t, uploads.Upload{}, time.Now().Add(-time.Hour))
		tell := teller(t, f, file)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go tell.Run(ctx)
		time.Sleep(time.Minute)
		f.mu.Lock()
		f.fail = nil
		f.mu.Unlock()
		time.Sleep(retry.Max + time.Second)
		synctest.Wait()
		if n := len(f.reports()); n != 1 {
			t.Errorf("%d reports", n)
		}
	})
}

func TestNewRefusesWhatItCannotRead(t *testing.T) {
	for content, want := range map[string]error{`{"version": 1}`: nil, `{"version": 2}`: ErrNewer, `{`: errAny} {
		file := stateFile(t)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{Spool: fakeSpool(), File: file, Identity: "edge-1"})
		if (err == nil) != (want == nil) || want != errAny && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", content, err, want)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != content {
			t.Errorf("%s became %q, %v", content, b, err)
		}
	}
}

var errAny = errors.New("any error")

// A name that is too long for a file gives a report all the same.
func TestReportOfALongName(t *testing.T) {
	f := fakeSpool()
	f.lose(t, uploads.Upload{}, began)
	tell, err := New(Options{Spool: f, File: stateFile(t), Identity: strings.Repeat("x", uploads.MaxNameBytes)})
	if err != nil {
		t.Fatal(err)
	}
	if err := tell.Tell(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.reports(); len(got) != 1 || !IsReport(Kind, f.accepted[0].Name) {
		t.Errorf("%q", got)
	}
}
