package catalogue

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"inventorybeacon/uploads"
)

// traceFleet adds what beacons below know.
func (c *Catalogue) traceFleet(ctx context.Context, t *Trace) (err error) {
	if t.Told, err = c.toldCalled(ctx, t.Query); err != nil || len(t.Told) == 0 {
		return err
	}
	words, err := c.Words(ctx)
	for _, w := range words {
		if slices.ContainsFunc(t.Told, func(o Told) bool { return o.Beacon == w.Beacon && o.Child == w.Child }) {
			t.Beacons = append(t.Beacons, w)
		}
	}
	return err
}

// withWords takes into account what beacons below said. Their word is only as good
// as it is fresh, so that its age goes with it.
func (t Trace) withWords(v Verdict, now time.Time) Verdict {
	if len(t.Told) == 0 || v.Code == Ambiguous {
		return v
	}
	k := t.Told[0]
	who := uploads.Device{Domain: k.Domain, Name: k.Name}.String()
	switch {
	case t.refusedBelow(k):
		v.Code, v.Do = Refused, remedy(k.Refusal)
		v.Text = fmt.Sprintf("%s: its last upload was turned away by the beacon %s: %s.", who, k.Beacon, k.Refusal.refused(now))
	case !t.heardHere() || v.Code == OnlyPolls && len(k.Uploads) > 0:
		v = elsewhere(v, k, who, now)
	}
	w, known := t.word(k)
	if known && w.Silent(now) && (v.Code == Silent || v.Code == Elsewhere) {
		v.Code = DarkBeacon
		v.Text = fmt.Sprintf("%s: nothing is known of it since %s, for the beacon %s, which hears it, is not heard of itself: its last word is of %s. What it knew then: %s.",
			who, stamp(k.LastSeen), k.Beacon, ago(w.At, now), knew(k, now))
		v.Do = fmt.Sprintf("Look at the beacon %s: does it run, and can it reach the beacon above it (%s)? Run `beacon status` there.", k.Beacon, w.Child)
	}
	return t.wordNotes(v, k, w, known && w.Silent(now), now)
}

// heardHere reports whether this beacon knows the device from more than what others
// told, which alone makes a device, too.
func (t Trace) heardHere() bool {
	return len(t.Strangers) > 0 || slices.ContainsFunc(t.Devices, func(d Device) bool { return !d.OnlyTold() })
}

// elsewhere is about a device that only others know.
func elsewhere(v Verdict, k Told, who string, now time.Time) Verdict {
	v.Code = Elsewhere
	v.Text = fmt.Sprintf("%s: nothing of it has come here, but the beacon %s hears it: %s.", who, k.Beacon, knew(k, now))
	v.Do = fmt.Sprintf("Ask there: `beacon trace %q` on %s says what it waits for.", who, k.Beacon)
	if len(k.Uploads) == 0 {
		v.Do = "On the machine, run `beacon-agent upload` and read what it says; for an old agent, see its own log of uploads."
	}
	return v
}

// refusedBelow reports whether a beacon below turned away an upload since anything
// of the device was accepted, anywhere that is known of.
func (t Trace) refusedBelow(k Told) bool {
	if k.Refusal.IsZero() {
		return false
	}
	newest := func(at time.Time) bool { return k.Refusal.At.After(at) }
	for _, at := range k.Uploads {
		if !newest(at) {
			return false
		}
	}
	return (len(t.Uploads) == 0 || newest(t.Uploads[0].Received)) &&
		!slices.ContainsFunc(t.Devices, func(d Device) bool { return !newest(refusalOf(d).At) })
}

// word is the last that the beacon said which told k.
func (t Trace) word(k Told) (Word, bool) {
	i := slices.IndexFunc(t.Beacons, func(w Word) bool { return w.Beacon == k.Beacon && w.Child == k.Child })
	if i < 0 {
		return Word{}, false
	}
	return t.Beacons[i], true
}

// knew is what a beacon knew of a device, in words.
func knew(k Told, now time.Time) string {
	parts := []string{"last contact " + ago(k.LastSeen, now)}
	if k.Address != "" {
		parts[0] += " from " + k.Address
	}
	for _, kind := range slices.Sorted(maps.Keys(k.Uploads)) {
		parts = append(parts, fmt.Sprintf("%s %s", kind, ago(k.Uploads[kind], now)))
	}
	if len(k.Uploads) == 0 {
		parts = append(parts, "no upload accepted")
	}
	return strings.Join(parts, ", ")
}

func (t Trace) wordNotes(v Verdict, k Told, w Word, dark bool, now time.Time) Verdict {
	own := time.Time{}
	for _, d := range t.Devices {
		if l := d.Latest().LastSeen; l.After(own) {
			own = l
		}
	}
	if k.LastSeen.After(own) && v.Code != DarkBeacon {
		v.Notes = append(v.Notes, fmt.Sprintf("the beacon %s heard it last, %s, as of its word %s", k.Beacon, ago(k.LastSeen, now), ago(k.Heard, now)))
		v.Notes = append(v.Notes, t.contactNotes(k.Contact, newestUpload(k))...)
	}
	switch {
	case dark && v.Code != DarkBeacon:
		v.Notes = append(v.Notes, fmt.Sprintf("the beacon %s is silent: its last word is of %s; what it knew then: %s", k.Beacon, ago(w.At, now), knew(k, now)))
	case w.State.Trouble != "":
		v.Notes = append(v.Notes, fmt.Sprintf("the beacon %s takes no uploads: %s", k.Beacon, w.State.Trouble))
	}
	for _, s := range w.State.Sinks {
		if s.Failures > 0 || s.Stopped {
			v.Notes = append(v.Notes, fmt.Sprintf("the relay of %s to %s fails, %d files wait there: %s", k.Beacon, s.Name, s.Waiting, cmp.Or(s.Error, "it stopped")))
		}
	}
	return v
}

func newestUpload(k Told) (last time.Time) {
	for _, at := range k.Uploads {
		if at.After(last) {
			last = at
		}
	}
	return last
}
