package beacon_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/admission"
	"inventorybeacon/beacon/beacontest"
)

// retryAfter returns how many seconds an answer says to stay away, 0 for none.
func retryAfter(resp *http.Response) int {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return n
}

func TestLimitsAreAnsweredWithTimesToComeBack(t *testing.T) {
	rates := func(l map[admission.Endpoint]admission.Rate) *admission.Rates { return admission.NewRates(l, nil) }
	for _, tt := range []struct {
		name           string
		limits         beacon.Limits
		last           bool
		method, target string
		status         int
		code           string
	}{
		{"no limit", beacon.Limits{}, false, "PUT", aLog, 200, ""},
		{"this sender asks too often", beacon.Limits{Rates: rates(map[admission.Endpoint]admission.Rate{admission.Upload: {Peer: 0.5}})}, false, "PUT", aLog, 429, "busy"},
		{"all together ask too often", beacon.Limits{Rates: rates(map[admission.Endpoint]admission.Rate{admission.Upload: {Beacon: 0.5}})}, false, "PUT", aLog, 503, "busy"},
		{"uploads do not limit downloads", beacon.Limits{Rates: rates(map[admission.Endpoint]admission.Rate{admission.Upload: {Beacon: 0.5}})}, false, "GET", "/ManageSoftDL/none", 404, "not-found"},
		{"downloads have a limit of their own", beacon.Limits{Rates: rates(map[admission.Endpoint]admission.Rate{admission.Policy: {Beacon: 0.5}})}, false, "GET", "/ManageSoftDL/none", 503, "busy"},
		{"too much of this sender waits", beacon.Limits{Held: func(string) (int, int64) { return 10, 0 }, Child: admission.Share{Files: 10}}, false, "PUT", aLog, 507, "spool-full"},
		{"nearly too much", beacon.Limits{Held: func(string) (int, int64) { return 9, 0 }, Child: admission.Share{Files: 10}}, false, "PUT", aLog, 200, ""},
		{"the last disk is for policy: a question", beacon.Limits{}, true, "HEAD", aLog, 507, ""},
		{"the last disk is for policy: reachability", beacon.Limits{}, true, "GET", "/ManageSoftRL/", 200, ""},
		{"the last disk is for policy: a download", beacon.Limits{}, true, "GET", "/ManageSoftDL/none", 404, "not-found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.Limits, s.Last = tt.limits, func() bool { return tt.last }
			h := s.Handler()
			resp := ask(h, tt.method, tt.target, "hello")
			if tt.limits.Rates != nil { // a limit of one at once: the second is too many
				resp = ask(h, tt.method, tt.target, "hello")
			}
			limited := tt.status == 429 || tt.status == 503 || tt.status == 507
			if resp.StatusCode != tt.status || (retryAfter(resp) > 0) != limited {
				t.Errorf("%d, Retry-After %q; want %d", resp.StatusCode, resp.Header.Get("Retry-After"), tt.status)
			}
			answer := text(t, resp)
			if tt.method != "HEAD" && tt.code != "" && !strings.Contains(answer, `"code":"`+tt.code+`"`) {
				t.Errorf("not %q: %s", tt.code, answer)
			}
			if own := strings.Contains(answer, "of this sender"); own != strings.HasPrefix(tt.name, "too much of this sender") {
				t.Errorf("told: %s", answer)
			}
		})
	}
}

// What is slow gives its place to others, and ends well all the same.
func TestSlowUploadGivesItsPlaceAway(t *testing.T) {
	s := newSite(t)
	s.InFlight = 1
	s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
		done := make(chan int)
		go func() { done <- put(t, ln, "/ManageSoftRL/Logs/slow.log", repeat("y", 4), 5*1e9) }()
		synctest.Wait()
		if got := put(t, ln, "/ManageSoftRL/Logs/early.log", []string{"x"}, 0); got != 503 {
			t.Errorf("while it has the place: %d", got)
		}
		if got := put(t, ln, "/ManageSoftRL/Logs/late.log", []string{"x"}, 2*1e9); got != 503 {
			t.Errorf("admitted with its head: %d", got)
		}
		for _, name := range []string{"a", "b"} {
			if got := put(t, ln, "/ManageSoftRL/Logs/"+name+".log", []string{"x"}, 0); got != 200 {
				t.Errorf("%s, once it has given the place away: %d", name, got)
			}
		}
		if got := <-done; got != 200 {
			t.Errorf("the slow one ended with %d", got)
		}
	})
	if got := strings.Join(s.spool.bodies, " "); got != "x x yyyy" {
		t.Errorf("stored %q", got)
	}
}
