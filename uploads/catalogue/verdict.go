package catalogue

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"inventorybeacon/uploads"
)

// A Verdict says in one line why a device has or has not reported, and in
// another what to do.
type Verdict struct {
	Code  VerdictCode `json:"code"`
	Text  string      `json:"text"`
	Do    string      `json:"do,omitempty"`
	Notes []string    `json:"notes,omitempty"` // what else is worth a look
}

// A VerdictCode names the case, for programs.
type VerdictCode string

const (
	NeverHeard VerdictCode = "never-heard"   // nothing is known of it
	Ambiguous  VerdictCode = "ambiguous"     // several machines fit
	OnlyPolls  VerdictCode = "only-polls"    // it calls but nothing of it was accepted
	Refused    VerdictCode = "refused"       // its last upload was turned away here
	Rejected   VerdictCode = "quarantined"   // accepted here, refused further up
	WasLost    VerdictCode = "lost"          // accepted here, lost since
	InQueue    VerdictCode = "waiting"       // accepted; a sink does not have it yet
	Elsewhere  VerdictCode = "elsewhere"     // a beacon below heard of it; nothing of it has come here
	DarkBeacon VerdictCode = "beacon-silent" // the beacon that hears it is not heard of itself
	Silent     VerdictCode = "silent"        // delivered, but not heard of for long
	Reported   VerdictCode = "reported"      // its newest upload is delivered
)

// silentAfter is how long a device may be quiet before that is the news: two
// days and a little, since inventories are daily and a machine may be off for a
// night. A shorter time cries wolf over every weekend; a longer one hides an
// agent that died.
const silentAfter = 50 * time.Hour

// skewed is how far a clock may be off before it is worth a word: certificates
// and policy expiry are judged by it.
const skewed = 5 * time.Minute

// Verdict says why the device has or has not reported. It looks at nothing but
// t and now.
func (t Trace) Verdict(now time.Time) Verdict { return t.withWords(t.local(now), now) }

// local is the verdict by what this beacon itself knows.
func (t Trace) local(now time.Time) Verdict {
	d, one := t.machine()
	switch {
	case one:
		return t.device(d, now)
	case len(t.Devices) > 1:
		return t.ambiguous()
	case len(t.Strangers) > 0:
		return t.stranger(t.Strangers[0], now)
	default:
		return t.never(now)
	}
}

// machine returns the one device that is meant. A name that is known without a
// domain and in a single domain is one machine of which not every file told
// the domain; the verdict looks at both rows together.
func (t Trace) machine() (d Device, one bool) {
	for i, o := range t.Devices {
		switch {
		case i == 0:
			d = o
		case d.Domain != "" && o.Domain != "" || !sameMachine(d, Contact{Domain: o.Domain, Name: o.Name}):
			return Device{}, false
		default:
			d = joined(d, o)
		}
	}
	return d, len(t.Devices) > 0
}

func joined(d, o Device) Device {
	d.Domain = cmp.Or(d.Domain, o.Domain)
	if o.LastSeen.After(d.LastSeen) {
		d.LastSeen = o.LastSeen
	}
	d.Kinds = slices.Concat(d.Kinds, o.Kinds)
	d.Contacts = slices.Concat(d.Contacts, o.Contacts)
	slices.SortStableFunc(d.Contacts, func(a, b Contact) int { return b.LastSeen.Compare(a.LastSeen) })
	if o.Clone {
		d.Clone, d.CloneDetail = true, strings.TrimPrefix(d.CloneDetail+"; "+o.CloneDetail, "; ")
	}
	return d
}

func (t Trace) never(now time.Time) Verdict {
	return Verdict{
		Code: NeverHeard,
		Text: fmt.Sprintf("%s: never heard of: no request and no upload named it%s.", t.Query, since(t.Since, now)),
		Do:   "On the machine, run `beacon-agent status`: it says which beacons the agent tries and what they answer. If it names this beacon, see what lies between: `curl <beacon>/ManageSoftRL/`.",
	}
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since this index began " + ago(t, now)
}

func (t Trace) ambiguous() Verdict {
	var all []string
	for _, d := range t.Devices {
		all = append(all, uploads.Device{Domain: d.Domain, Name: d.Name}.String())
	}
	return Verdict{
		Code: Ambiguous,
		Text: fmt.Sprintf("%s: %d machines fit: %s.", t.Query, len(all), strings.Join(all, ", ")),
		Do:   fmt.Sprintf("Ask for one of them: `beacon trace %q`.", all[0]),
	}
}

// stranger is about who calls but never had an upload accepted.
func (t Trace) stranger(k Contact, now time.Time) Verdict {
	who := cmp.Or(uploads.Device{Domain: k.Domain, Name: k.Name}.String(), k.Address)
	v := Verdict{
		Code: OnlyPolls,
		Text: fmt.Sprintf("%s calls (last %s from %s) but never uploaded anything here.", who, ago(k.LastSeen, now), k.Address),
		Do:   "On the machine, run `beacon-agent upload` and read what it says; for an old agent, see its own log of uploads. It may upload to another beacon.",
	}
	if !k.Refusal.IsZero() {
		v.Code = Refused
		v.Text = fmt.Sprintf("%s calls (last %s from %s) but nothing of it was ever accepted: %s.", who, ago(k.LastSeen, now), k.Address, k.Refusal.refused(now))
		v.Do = remedy(k.Refusal)
	}
	v.Notes = t.contactNotes(k, time.Time{})
	if n := len(t.Strangers); n > 1 {
		v.Notes = append(v.Notes, fmt.Sprintf("%d more callers fit", n-1))
	}
	return v
}

// device is about one that had an upload accepted at least once.
func (t Trace) device(d Device, now time.Time) Verdict {
	v := t.newest(d, now)
	v.Notes = t.notes(d, v, now)
	return v
}

func (t Trace) newest(d Device, now time.Time) Verdict {
	who := uploads.Device{Domain: d.Domain, Name: d.Name}.String()
	if a := refusalOf(d); !a.IsZero() && (len(t.Uploads) == 0 || a.At.After(t.Uploads[0].Received)) {
		return Verdict{Code: Refused, Text: fmt.Sprintf("%s: its last upload was turned away: %s.", who, a.refused(now)), Do: remedy(a)}
	}
	if len(t.Uploads) == 0 {
		return Verdict{
			Code: Silent,
			Text: fmt.Sprintf("%s has sent nothing that is still listed; last heard of %s.", who, ago(d.LastSeen, now)),
			Do:   "On the machine, run `beacon-agent status`.",
		}
	}
	u := t.Uploads[0]
	what := fmt.Sprintf("%s: its newest file, %s (%s), arrived %s", who, u.Name, u.Kind, ago(u.Received, now))
	switch {
	case u.State == StateQuarantined && u.Resent == 0:
		return Verdict{Code: Rejected, Text: fmt.Sprintf("%s and is in quarantine: %s.", what, cmp.Or(u.Detail, u.Reason)),
			Do: fmt.Sprintf("See all of it with `beacon uploads show %s` and its bytes with `beacon uploads cat %s`; when the cause is gone, have it sent again.", u.Receipt, u.Receipt)}
	case u.State == StateLost && u.Resent == 0:
		return Verdict{Code: WasLost, Text: fmt.Sprintf("%s and was lost %s (%s).", what, ago(u.Ended, now), cmp.Or(u.Detail, u.Reason)),
			Do: "Have it sent again: `beacon-agent inventory` on the machine. `beacon uploads losses` lists what else is gone."}
	case u.State == StateWaiting:
		return Verdict{Code: InQueue, Text: fmt.Sprintf("%s and %s.", what, t.waitsFor(u, now)),
			Do: "See what the destination says: `beacon status`. Nothing is lost meanwhile."}
	case now.Sub(d.LastSeen) > silentAfter:
		return Verdict{Code: Silent, Text: fmt.Sprintf("%s and was delivered, but the machine is silent since %s (%s).", what, stamp(d.LastSeen), ago(d.LastSeen, now)),
			Do: "Is the machine on, and can it reach this beacon? On the machine, run `beacon-agent status`."}
	}
	return Verdict{Code: Reported, Text: fmt.Sprintf("%s and was delivered%s.", what, delivered(u, now))}
}

// waitsFor says which sinks do not have a file, and since when it waits.
func (t Trace) waitsFor(u Upload, now time.Time) string {
	var names []string
	for _, s := range u.MissingFrom(t.Sinks) {
		names = append(names, s.Name)
	}
	waited := strings.TrimSuffix(ago(u.Received, now), " ago")
	if len(names) == 0 {
		return fmt.Sprintf("has waited in the queue for %s", waited)
	}
	return fmt.Sprintf("has waited for %s for %s", strings.Join(names, " and "), waited)
}

func delivered(u Upload, now time.Time) string {
	if len(u.Deliveries) == 0 {
		return ""
	}
	d := u.Deliveries[len(u.Deliveries)-1]
	return fmt.Sprintf(" to %s %s", d.Sink, ago(d.At, now))
}

// refusalOf returns the last upload of d that was turned away, whoever of its
// identities sent it.
func refusalOf(d Device) (last Answer) {
	for _, k := range d.Contacts {
		if k.Refusal.At.After(last.At) {
			last = k.Refusal
		}
	}
	return last
}

func (a Answer) refused(now time.Time) string {
	s := fmt.Sprintf("%d", a.Status)
	if a.Code != "" {
		s += " " + a.Code
	}
	if a.What != "" {
		s += " for " + a.What
	}
	return s + ", " + ago(a.At, now)
}

// remedies say what to do about an answer, by its code.
var remedies = map[string]string{
	"bad-name":        "The file's name is not acceptable: see the rules of names in docs/PROTOCOL.md. Nothing to do on the beacon.",
	"bad-kind":        "This kind of file, or its extension, is not taken: add the kind to the beacon's configuration if it should be.",
	"too-large":       "The file is over its kind's limit: raise the limit in the beacon's configuration if it is honest.",
	"digest-mismatch": "The bytes changed on the way: look for a proxy that rewrites, or a file that was written while it was sent.",
	"busy":            "The beacon, or this sender's share of it, was over its limits; the agent comes back by itself.",
	"spool-full":      "The beacon's disk is full: `beacon status` says what waits there and for which destination.",
	"unauthenticated": "The listener wants to know who is calling: the agent has to be enrolled, or use another listener.",
	"forbidden":       "The machine sent a file of another machine.",
	"loop":            "The relay goes round in a circle: check the parents of the beacons it passed.",
	"stalled":         "The connection stopped in the middle of the file: look at the network between; the agent tries again.",
	"internal":        "This is the beacon's fault: see its log at that time; the agent tries again.",
}

func remedy(a Answer) string {
	return cmp.Or(remedies[a.Code], "See the beacon's log at that time, and `beacon-agent status` on the machine.")
}

// notes tell what else is worth a look on a device.
func (t Trace) notes(d Device, v Verdict, now time.Time) (notes []string) {
	if d.Clone {
		notes = append(notes, "clone: "+d.CloneDetail)
	}
	if n := t.WaitingCount; n > 0 && (v.Code != InQueue || n > 1) {
		notes = append(notes, fmt.Sprintf("%d of its files wait in the queue, the oldest for %s", n, strings.TrimSuffix(ago(t.oldest(), now), " ago")))
	}
	if n := len(t.Losses); n > 0 && v.Code != WasLost && v.Code != Rejected {
		notes = append(notes, fmt.Sprintf("%d of its files were lost or refused; the last, %s, %s", n, t.Losses[0].Name, ago(t.Losses[0].At, now)))
	}
	if !t.inventoried(d) {
		notes = append(notes, "it never sent an inventory")
	}
	if len(d.Contacts) == 0 && len(t.Told) > 0 {
		return notes // of which others speak
	}
	if len(d.Contacts) == 0 {
		return append(notes, "it was not heard directly since "+stamp(t.Since)+": what is known comes from its files")
	}
	return append(notes, t.contactNotes(d.Latest(), d.lastUpload())...)
}

// inventoried reports whether an inventory was ever accepted, here or elsewhere.
func (t Trace) inventoried(d Device) bool {
	return slices.ContainsFunc(d.Kinds, func(a Activity) bool { return a.Kind == inventories }) ||
		slices.ContainsFunc(t.Told, func(k Told) bool { return !k.Uploads[inventories].IsZero() })
}

// lastUpload is when the newest file of any kind was accepted.
func (d Device) lastUpload() (last time.Time) {
	for _, a := range d.Kinds {
		if a.Last.After(last) {
			last = a.Last
		}
	}
	return last
}

// sameCall is how close to an upload a contact counts as that upload.
const sameCall = time.Second

func (t Trace) oldest() time.Time {
	if len(t.Waiting) == 0 {
		return time.Time{}
	}
	return t.Waiting[0].Received
}

func (t Trace) contactNotes(k Contact, upload time.Time) (notes []string) {
	if k.Policy.Status >= 400 {
		why := ""
		if k.Policy.Code == "not-found" {
			why = " (no bundle applies to it: see `beacon policy list`)"
		}
		notes = append(notes, fmt.Sprintf("its last policy download was answered %d%s", k.Policy.Status, why))
	}
	if k.Error != "" {
		notes = append(notes, "the agent reports: "+k.Error)
	}
	there := k.Spool
	if !k.LastSeen.After(upload.Add(sameCall)) {
		there-- // it counted the file that it was just sending
	}
	if there > 0 {
		notes = append(notes, fmt.Sprintf("files waiting on the machine itself: %d", there))
	}
	if k.SkewKnown && k.Skew.Abs() > skewed {
		notes = append(notes, fmt.Sprintf("its clock is off by %s", k.Skew))
	}
	return notes
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// ago says how long before now t was, to the two largest units.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "at an unknown time"
	case d < 0:
		return "at " + stamp(t) // of a clock ahead of ours
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm ago", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh ago", int(d.Hours())/24, int(d.Hours())%24)
}
