package admission

// A Machine is what limits are chosen from.
type Machine struct {
	Cores  int
	Memory int64 // bytes
	Disk   int64 // bytes of the file system that holds the spool
}

// Limits are what a beacon can be told about what it takes on. In Preset's
// answer every one is set.
type Limits struct {
	Files         int   // held in all
	Device, Child Share // held of one
	BytesInFlight int64
	Rates         map[Endpoint]Rate
	Watermarks    Watermarks
}

// What one core does in a second, roughly and at best. Lower values leave more
// of the machine to everything else; higher ones never get in the way.
var perCore = map[Endpoint]float64{Policy: 40_000, Upload: 8_000, Ask: 20_000}

// perAgent is the part of the machine that one agent gets: one that runs wild
// leaves the rest to others, and one that empties its outbox after an outage, or a
// load test that always gives the same identity, hardly notices.
const perAgent = 1.0 / 16

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	// perFile is what the books of one held file cost, with room to spare.
	perFile = 256
	// leastOnDisk is what the smallest file takes of the disk, its receipt included.
	leastOnDisk = 2 * kib
)

// Preset chooses limits that suit a machine: no sender gets more than a part of
// it, and all together no more than it has.
func Preset(m Machine) Limits {
	l := Limits{
		Files:         int(clamp(min(m.Memory/8/perFile, m.Disk/leastOnDisk), 10_000, 10_000_000)),
		BytesInFlight: clamp(m.Memory/4, 256*mib, 8*gib),
		Rates:         map[Endpoint]Rate{},
	}
	l.Device = Share{Files: min(l.Files/4, 100_000), Bytes: clamp(m.Disk/16, 512*mib, 8*gib)}
	l.Child = Share{Files: l.Files / 2, Bytes: max(m.Disk/2, 512*mib)}
	for e, n := range perCore {
		all := n * float64(max(1, m.Cores))
		l.Rates[e] = Rate{Beacon: all, Child: all / 2, Peer: all / 2, Agent: all * perAgent}
	}
	l.Watermarks.Uploads = min(256*mib, m.Disk/20)
	l.Watermarks.complete()
	return l
}

// complete derives the outer marks from the middle one.
func (w *Watermarks) complete() {
	if w.Logs == 0 {
		w.Logs = 2 * w.Uploads
	}
	if w.Policy == 0 {
		w.Policy = w.Uploads / 4
	}
}

// Override replaces what o sets.
func (w *Watermarks) Override(o Watermarks) {
	if o.Uploads > 0 {
		*w = Watermarks{Uploads: o.Uploads}
	}
	if o.Logs > 0 {
		w.Logs = max(o.Logs, w.Uploads)
	}
	if o.Policy > 0 {
		w.Policy = min(o.Policy, w.Uploads)
	}
	w.complete()
}

// Override replaces what o sets; a negative value is no limit.
func (s *Share) Override(o Share) {
	Override(&s.Files, o.Files)
	Override(&s.Bytes, o.Bytes)
}

// Override replaces what o sets; a negative value is no limit.
func (r *Rate) Override(o Rate) {
	Override(&r.Beacon, o.Beacon)
	Override(&r.Child, o.Child)
	Override(&r.Peer, o.Peer)
	Override(&r.Agent, o.Agent)
}

// Override replaces a preset by what was configured, if anything was; a negative
// value is no limit, which is 0.
func Override[N int | int64 | float64](to *N, from N) {
	switch {
	case from < 0:
		*to = 0
	case from > 0:
		*to = from
	}
}

func clamp(v, least, most int64) int64 { return min(max(v, least), most) }
