package inventory

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// A Document is one machine's inventory. It is written by [Document.WriteTo].
type Document struct {
	Identity Identity
	Time     time.Time
	Sections []Section
}

// A Status says what became of a section. Ok with a count of zero means that
// it was looked at and nothing was there.
type Status string

// What becomes of a section.
const (
	StatusOK     Status = "ok"
	StatusFailed Status = "failed" // what it holds, if anything, is not all
	StatusAbsent Status = "absent" // the machine has nothing of the sort
)

// A Section is what one collector found.
type Section struct {
	Name   string
	Status Status
	Error  string // why it failed
	Findings
}

// Hardware is one thing the machine consists of, also of its operating system
// and network: an instance of a WMI-style class.
type Hardware struct {
	Class      string
	Name       string // which of its class
	Evidence   string // where this was learnt
	Properties []Property
}

// A Property is a fact about a piece of hardware. Where a fact has several
// values, as the addresses of an adapter, each is a Property of its own.
type Property struct{ Name, Value string }

// A Package is one installed package. Values that are unknown are empty.
type Package struct {
	Name         string // without version and architecture
	Version      string
	Architecture string
	Vendor       string
	Installed    string // yyyymmddThhmmss, UTC
	Size         string // bytes on disk
	State        string // what sets it apart from an ordinarily installed one
	Evidence     string
}

func newSection(name string, out outcome) Section {
	s := Section{Name: name, Status: StatusOK, Findings: out.found}
	switch {
	case errors.Is(out.err, ErrAbsent):
		s.Status = StatusAbsent
	case out.err != nil:
		s.Status, s.Error = StatusFailed, out.err.Error()
	}
	s.sort()
	return s
}

// sort makes two inventories of an unchanged machine the same.
func (s *Section) sort() {
	slices.SortStableFunc(s.Hardware, func(a, b Hardware) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(s.Packages, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Architecture, b.Architecture), cmp.Compare(a.Version, b.Version))
	})
}

// Count is how many entries the section holds.
func (s *Section) Count() int { return len(s.Hardware) + len(s.Packages) }

// A Summary is what an inventory says in a few lines.
type Summary struct {
	MachineName string           `json:"machine"`
	Scope       string           `json:"domain"`
	Type        string           `json:"type"`
	DateTime    string           `json:"time"` // yyyymmddThhmmss, in the machine's own zone
	Hardware    int              `json:"hardware"`
	Packages    int              `json:"packages"`
	Sections    []SectionSummary `json:"sections"`
}

// A SectionSummary is one section's status.
type SectionSummary struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Count  int    `json:"count"`
	Error  string `json:"error,omitempty"`
}

// Summary returns in short what the written document says.
func (d *Document) Summary() Summary {
	sum := Summary{
		MachineName: d.Identity.Name,
		Scope:       d.Identity.Domain,
		Type:        documentType,
		DateTime:    d.dateTime(),
	}
	for _, s := range d.Sections {
		sum.Hardware += len(s.Hardware)
		sum.Packages += len(s.Packages)
		sum.Sections = append(sum.Sections, SectionSummary{Name: s.Name, Status: s.Status, Count: s.Count(), Error: s.Error})
	}
	return sum
}
