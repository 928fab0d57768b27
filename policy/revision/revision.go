// Package revision keeps the published revisions of a beacon's policy and says
// what each device is told.
//
// On disk a revision is a manifest that names immutable objects by their
// SHA-256; one pointer names the manifest in force. Objects and manifest are
// durable before the pointer is switched, so that a crash leaves the old
// revision or the new one. In memory a revision is a [Snapshot]: immutable, and
// found with one atomic load.
//
//	objects/<sha256>                 bytes
//	revisions/<epoch>-<number>.json  manifests, all of them kept
//	current                          the pointer
//	identity                         the publisher's name, and the version of all of this
//	incoming/                        bundles being read
//	lock                             held by the process that owns the store
package revision

import (
	"inventorybeacon/policy"
)

// A Result says what a publication did.
type Result struct {
	Revision policy.Revision `json:"revision"` // now in force
	Changed  bool            `json:"changed"`  // false: equal to what was in force, no revision was made
	Warnings []string        `json:"warnings,omitempty"`
}
