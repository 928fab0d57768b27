package beacon

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"inventorybeacon/policy"
	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/contact"
	"inventorybeacon/uploads/parent/problem"
)

// A target is what a download's path asks for.
type target struct {
	path string // below the root, decoded
	// policy is set for a device's policy; device is who that is, zero for the
	// path that many devices share.
	policy bool
	query  policy.Query
	device uploads.Device
}

// sharedPolicy is the device name in the path that every device may ask.
const sharedPolicy = "device"

// aim parses a download's path and query. Doubled slashes are what an agent
// makes of a root that ends in one, and harmless here.
func aim(escapedPath string, q url.Values) (target, error) {
	parts, err := segments(escapedPath)
	if err != nil {
		return target{}, err
	}
	parts = compact(parts)
	t := target{path: strings.Join(parts, "/")}
	if len(parts) != 5 || !strings.EqualFold(strings.Join(parts[:2], "/"), "Policies/Merged") || !strings.EqualFold(parts[3], "Machine") {
		return t, nil
	}
	domain, ok := cutSuffixFold(parts[2], "_domain")
	device, ok2 := cutSuffixFold(parts[4], ".npl")
	if !ok || !ok2 || device == "" {
		return t, nil
	}
	t.policy = true
	t.query = policy.Query{Domain: domain, Device: device, Ours: q.Get("agent") == "1", OS: q.Get("os"), Arch: q.Get("arch")}
	if !strings.EqualFold(device, sharedPolicy) {
		t.device = uploads.Device{Domain: domain, Name: device}
	}
	return t, nil
}

func compact(parts []string) []string {
	out := parts[:0]
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}

func cutSuffixFold(s, suffix string) (string, bool) {
	n := len(s) - len(suffix)
	if n < 0 || !strings.EqualFold(s[n:], suffix) {
		return s, false
	}
	return s[:n], true
}

// object finds what t asks for.
func (t target) object(s Snapshot, peer netip.Addr) (*revision.Object, error) {
	if !t.policy {
		return s.File(t.path)
	}
	q := t.query
	q.Address = peer
	return s.Policy(q)
}

func (a *Agents) download(w http.ResponseWriter, r *http.Request) error {
	t, err := aim(below(r), r.URL.Query())
	if err != nil {
		return err
	}
	now := a.Policies()
	o, err := t.object(now, a.peer(r))
	if err != nil {
		return err
	}
	ans := newAnswer(o, t)
	if !o.ByAddress {
		a.cache.put(r.RequestURI, now, ans)
	}
	return a.give(w, r, ans)
}

// again answers a download that was answered before, without routing it, and
// reports whether it did. Most polls end here, with a 304.
func (a *Agents) again(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	ans := a.cache.get(r.RequestURI, a.Policies())
	if ans == nil {
		return false
	}
	if err := a.give(w, r, ans); err != nil {
		a.refuse(err).ServeHTTP(w, r)
	}
	return true
}

// give writes an answer and tells who asked for it.
func (a *Agents) give(w http.ResponseWriter, r *http.Request, ans *answer) error {
	status, err := ans.serve(w, r)
	if err != nil && errors.Is(err, errBadRange) {
		return err
	}
	a.Metrics.downloaded(status)
	if ans.policy || len(r.Header[contact.Header]) > 0 {
		s := a.sighting(r, ans.device, ans.path)
		if ans.policy {
			s.Act = catalogue.ActPolicy
		}
		s.Status = status
		a.see(r, s)
	}
	if err != nil {
		// Headers are out: all that is left is to cut the connection short.
		a.log(r, status, problem.Internal, err)
		panic(http.ErrAbortHandler)
	}
	return nil
}
