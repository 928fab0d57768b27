package policy

import (
	"time"

	"inventorybeacon/failover"
)

// A Bundle is what an administrator published under one name.
type Bundle struct {
	Name      string    `json:"name"`
	AppliesTo AppliesTo `json:"applies_to"`
	Priority  int       `json:"priority"` // tie-break: lower wins
	Schedule  Schedule  `json:"schedule,omitempty"`
	Settings  Settings  `json:"settings,omitempty"`
	Failover  *Failover `json:"failover,omitempty"`
	// Files are ready-made wire files, served as they are.
	Files []File `json:"files,omitempty"`
	// Staging is set for a folder laid out like the incumbent's staging area.
	Staging bool `json:"staging,omitempty"`
	// Since is when this content of the bundle was published, and Parts when
	// each part last changed. They are carried along with a revision, so that
	// every beacon that has the revision says the same.
	Since time.Time `json:"since,omitzero"`
	Parts PartTimes `json:"parts,omitzero"`
}

// PartTimes are when the parts of a bundle became what they are.
type PartTimes struct {
	Schedule time.Time `json:"schedule,omitzero"`
	Settings time.Time `json:"settings,omitzero"`
	Failover time.Time `json:"failover,omitzero"`
}

// DefaultPriority is a bundle's priority if it does not say; a staging
// folder's is StagingPriority, so that a bundle written for us wins over it.
const (
	DefaultPriority = 50
	StagingPriority = 100
)

// AppliesTo are the conditions of a bundle. All that are given must hold; none
// given means every device.
type AppliesTo struct {
	Devices   []string `json:"devices,omitempty"`   // shell patterns
	Domains   []string `json:"domains,omitempty"`   // exact
	Groups    []string `json:"groups,omitempty"`    // none is defined yet: matches nobody
	Platforms []string `json:"platforms,omitempty"` // linux, windows, darwin, or os/arch
	Addresses []string `json:"addresses,omitempty"` // CIDR
	Tags      []string `json:"tags,omitempty"`      // none is defined yet: matches nobody
}

// Settings are name and value pairs by section.
type Settings map[string]map[string]string

// Failover is which beacons a device may use and in what order.
type Failover struct {
	Selector string   `json:"selector,omitempty"`
	Beacons  []Beacon `json:"beacons,omitempty"`
}

// A Beacon is one location of a failover list.
type Beacon struct {
	Name     string `json:"name"`
	Download string `json:"download"` // root URL, with its directory
	Upload   string `json:"upload"`
	Priority int    `json:"priority,omitempty"`
	Auto     bool   `json:"auto_priority,omitempty"` // the selector decides
	Invalid  bool   `json:"invalid,omitempty"`       // never used
	Proxy    string `json:"proxy,omitempty"`         // a URL, "direct", or empty: as the device's environment says
}

// Locations returns the list as the agent's failover takes it.
func (f Failover) Locations() []failover.Location {
	out := make([]failover.Location, len(f.Beacons))
	for i, b := range f.Beacons {
		out[i] = failover.Location(b)
	}
	return out
}

// A File is one ready-made file of a bundle.
type File struct {
	Path   string    `json:"path"` // below the download root, with slashes
	Source string    `json:"-"`    // where it lies in the bundle
	Digest string    `json:"sha256"`
	MD5    string    `json:"md5"`
	Size   int64     `json:"size"`
	MTime  time.Time `json:"mtime"`          // what the administrator's file said
	Since  time.Time `json:"since,omitzero"` // when these bytes were first published under Path
}

// Effective is what applies to one device, merged.
type Effective struct {
	Schedule Schedule  `json:"schedule,omitempty"`
	Settings Settings  `json:"settings,omitempty"`
	Failover *Failover `json:"failover,omitempty"`
	Bundles  []Match   `json:"bundles"` // those that apply, the one that wins first
}

// A Match is a bundle that applies to a device, and how specifically.
type Match struct {
	Bundle   string `json:"bundle"`
	Rank     Rank   `json:"rank"`
	Priority int    `json:"priority"`
}
