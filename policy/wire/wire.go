// Package wire reads and writes the documents that devices fetch.
//
// Writers are strict: what they write is well-formed under XML namespaces and
// always the same bytes for the same value. Readers are lenient where the
// incumbent's documents need it (names like NETDEPLOY::X, processing
// instructions named XML::NAMESPACE, any case and order of attributes, a
// declared encoding that is not the one used) and strict where leniency is an
// attack: an internal subset is refused, nothing external is ever fetched, and
// depth, size and number of elements are bounded.
package wire

import (
	"errors"
	"time"

	"inventorybeacon/policy"
)

// ErrSyntax means a document cannot be read.
var ErrSyntax = errors.New("bad document")

// A Policy is an .npl.
type Policy struct {
	GUID     string // in braces; changes with the contents
	Packages []Package
	// Revision is in documents for our own agent only.
	Revision policy.Revision
}

// A Package is one line of a policy: a catalogue to fetch.
type Package struct {
	Href     string // as written: $(DownloadRootURL)/..., percent-encoded
	ObjectID string
	// Type is the top-level folder of Href, such as Schedules.
	Type string
	// SHA256 of the catalogue, hex; in documents for our own agent only.
	SHA256 string
}

// A Catalogue is an .osd: it says what a package's body is.
type Catalogue struct {
	Name, Type, Version string
	Title               string
	Href                string // of the body
	Size                int64
	MD5                 string // hex, for old agents
	SHA256              string // hex, for ours
}

// A Schedule is an .nds that holds events.
type Schedule struct {
	Name    string
	Created time.Time
	Events  []policy.Event
}
