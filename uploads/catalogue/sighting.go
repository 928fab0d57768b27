package catalogue

import (
	"cmp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/contact"
)

// An Act is what a request was for, as far as the catalogue cares.
type Act uint8

const (
	ActOther  Act = iota // anything that only proves the device is there
	ActPolicy            // a download of a device's policy
	ActUpload            // a PUT of a file
)

// A Sighting is one request in which a device, or at least an address, showed
// itself.
type Sighting struct {
	At time.Time
	// Device is whom the path or the file name speaks of; zero if neither does,
	// as for a policy path that several machines share. Where the header names
	// a device, that is who called, whomever the file is about.
	Device uploads.Device
	// Peer is the address it came from, without a port.
	Peer string
	// Contact is what the Beacon-Agent header said.
	Contact contact.Contact

	Act    Act
	Status int    // the answer's
	Code   string // of the problem document, if one was the answer
	What   string // the path or the file name; shortened as needed
}

// maxWhat bounds what is kept of a path, in bytes.
const maxWhat = 256

// maxDevice is the longest name, or domain, of a device: that of a host, with every
// character escaped. What is longer is nobody's.
const maxDevice = 3 * 255

// device returns who called.
func (s Sighting) device() uploads.Device {
	d := s.Device
	if s.Contact.Name != "" {
		d = uploads.Device{Domain: cmp.Or(s.Contact.Domain, s.Device.Domain), Name: s.Contact.Name}
	}
	if len(d.Domain) > maxDevice || len(d.Name) > maxDevice {
		return uploads.Device{}
	}
	return d
}

func (s Sighting) answer() Answer {
	what := s.What
	if len(what) > maxWhat {
		what = what[:maxWhat]
		for what != "" && !utf8.ValidString(what) {
			what = what[:len(what)-1]
		}
		what = strings.Clone(what) // the rest of the request's line is not kept for it
	}
	return Answer{At: s.At, Status: s.Status, Code: s.Code, What: what}
}

// An identity is what one row of contacts is about.
type identity struct {
	domain, name string // keys
	agent        string
	place        string // the address, for who gave no name
}

// A recent contact is what the sightings of one identity come to since the last
// write.
type recent struct {
	Contact
	policy, refused bool // Policy, Refusal are news
}

// sightings joins what is seen of one identity, so that a device that asks a
// hundred times a second is written once.
type sightings struct {
	mu   sync.Mutex
	seen map[identity]*recent
}

// sightingBuffer bounds the identities between two writes, at 600 bytes each as a
// rule and about 2 KiB at most; as many again may be on their way to the disk.
// A larger buffer rides out a longer burst of uploads, or a slower disk; what
// exceeds it is dropped and counted.
const sightingBuffer = 32 << 10

// Seen takes a sighting behind the answer. It never waits for the disk.
func (c *Catalogue) Seen(s Sighting) {
	if !c.sightings.add(s) {
		c.counters.sightingsDropped.Add(1)
		return
	}
	c.counters.sightings.Add(1)
	c.rouse()
}

func (ss *sightings) add(s Sighting) bool {
	d := s.device()
	id := identity{agent: s.Contact.ID}
	if d.IsZero() {
		id.place = s.Peer
	} else {
		id.domain, id.name = keys(d)
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	r := ss.seen[id]
	if r == nil {
		if len(ss.seen) >= sightingBuffer {
			return false
		}
		if ss.seen == nil {
			ss.seen = map[identity]*recent{}
		}
		// What is kept must not keep the request that it is a part of.
		d.Domain, d.Name = strings.Clone(d.Domain), strings.Clone(d.Name)
		id.domain, id.name = strings.Clone(id.domain), strings.Clone(id.name)
		r = &recent{Contact: Contact{Domain: d.Domain, Name: d.Name, AgentID: id.agent, FirstSeen: s.At}}
		ss.seen[id] = r
	}
	r.add(s)
	return true
}

// crowded reports whether there soon is no room for more.
func (ss *sightings) crowded() bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.seen) > sightingBuffer/4*3
}

// take empties the buffer.
func (ss *sightings) take() map[identity]*recent {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	seen := ss.seen
	ss.seen = nil
	return seen
}

func (r *recent) add(s Sighting) {
	r.Requests++
	if s.At.Before(r.LastSeen) {
		return
	}
	r.LastSeen, r.Address = s.At, s.Peer
	r.Version, r.Revision, r.Digest = s.Contact.Version, s.Contact.Revision, s.Contact.Digest
	r.Spool, r.Error = s.Contact.Spool, s.Contact.Error
	if r.SkewKnown = !s.Contact.Clock.IsZero(); r.SkewKnown {
		r.Skew = s.Contact.Clock.Sub(s.At).Round(time.Second)
	}
	switch {
	case s.Act == ActPolicy:
		r.Policy, r.policy = s.answer(), true
	case s.Act == ActUpload && refusal(s.Status):
		r.Refusal, r.refused = s.answer(), true
	}
}

// refusal reports whether an upload answered so was turned away. 404 is a HEAD
// asking whether a file is here.
func refusal(status int) bool { return status >= 400 && status != 404 }
