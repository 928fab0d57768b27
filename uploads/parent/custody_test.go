package parent_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/parent/problem"
)

// says starts a server that answers every GET so, and a HEAD with what it has.
func says(t *testing.T, get http.HandlerFunc, has ...uploads.Digest) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			get(w, r)
			return
		}
		d, _ := uploads.ParseDigest(r.URL.Query().Get("sha256"))
		if !slices.Contains(has, d) {
			answer(w, problem.NotFound, http.StatusNotFound)
			return
		}
		w.Header().Set(hop.DigestHeader, hop.FormatDigest(d))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// refuses answers with a problem document.
func refuses(code problem.Code, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { answer(w, code, status) }
}

// knows answers with a receipt for u.
func knows(u uploads.Upload, holders ...uploads.Custody) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if d, _ := uploads.ParseDigest(r.URL.Query().Get("sha256")); d != u.Digest {
			answer(w, problem.NotFound, http.StatusNotFound)
			return
		}
		receipt := u.Receipt()
		receipt.Custody = holders
		json.NewEncoder(w).Encode(receipt)
	}
}

func TestSinkAsksHowFarAFileGot(t *testing.T) {
	p := sample(t)
	at := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	hub := uploads.Custody{Level: uploads.LevelBeacon, Beacon: "hub", At: at}
	store := uploads.Custody{Level: uploads.LevelStore, Beacon: "hub", At: at}
	above := uploads.Custody{Level: uploads.LevelParent, Beacon: "hub", At: at}
	other := p.Upload
	other.Digest = uploads.DigestOf([]byte("other"))
	otherName := p.Upload
	otherName.Name = name(t, "other.log")
	down := says(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	unknown := says(t, refuses(problem.NotFound, 404))
	stranger := says(t, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	told := says(t, knows(p.Upload, hub, store))
	for name, tt := range map[string]struct {
		level   string
		roots   []string
		want    []uploads.Custody
		unknown bool // the error
		fails   bool
	}{
		"a beacon's parent":         {"", []string{told}, []uploads.Custody{above, store}, false, false},
		"an agent's beacon":         {uploads.LevelBeacon, []string{told}, []uploads.Custody{hub, store}, false, false},
		"the second one knows":      {"", []string{unknown, told}, []uploads.Custody{above, store}, false, false},
		"the first one is down":     {"", []string{down, told}, []uploads.Custody{above, store}, false, false},
		"nobody knows":              {"", []string{unknown, unknown}, nil, true, false},
		"nobody who answers knows":  {"", []string{down, unknown}, nil, true, false},
		"nobody answers":            {"", []string{down}, nil, false, true},
		"a stranger's 404":          {"", []string{stranger}, nil, false, true},
		"a receipt for other bytes": {"", []string{says(t, func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(other.Receipt()) })}, nil, false, true},
		"a receipt of another name": {"", []string{says(t, func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(otherName.Receipt()) })}, nil, false, true},
		"a portal's page":           {"", []string{says(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>log in</html>")) })}, nil, false, true},
		"busy":                      {"", []string{says(t, refuses(problem.Busy, 503))}, nil, false, true},
		"nowhere to ask":            {"", nil, nil, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, tt.roots...)
			s.Level = tt.level
			got, err := s.Reached(t.Context(), uploads.Upload{Kind: p.Kind, Name: p.Name, Digest: p.Digest})
			if errors.Is(err, uploads.ErrUnknown) != tt.unknown || (err != nil) != (tt.unknown || tt.fails) || !slices.Equal(got, tt.want) {
				t.Errorf("%v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// A beacon that is too old to give receipts still says whether it has a file.
func TestSinkAsksAnOlderBeacon(t *testing.T) {
	p := sample(t)
	s := newSink(t, says(t, refuses(problem.MethodNotAllowed, 405), p.Digest))
	if got, err := s.Reached(t.Context(), p.Upload); err != nil || len(got) != 1 || got[0].Level != uploads.LevelParent {
		t.Errorf("what it has: %v, %v", got, err)
	}
	other := p.Upload
	other.Digest = uploads.DigestOf([]byte("other"))
	if got, err := s.Reached(t.Context(), other); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("what it has not: %v, %v", got, err)
	}
}

// A beacon that is to be left alone says for how long.
func TestSinkHearsWhenToAskAgain(t *testing.T) {
	p := sample(t)
	s := newSink(t, says(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "90")
		answer(w, problem.Busy, http.StatusServiceUnavailable)
	}))
	_, err := s.Reached(t.Context(), p.Upload)
	if retry, ok := errors.AsType[*uploads.RetryError](err); !ok || retry.After != 90*time.Second {
		t.Errorf("error %v", err)
	}
}

func name(t *testing.T, s string) uploads.Name {
	t.Helper()
	n, err := uploads.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
