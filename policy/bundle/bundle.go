// Package bundle reads what an administrator dropped, a folder or an archive,
// into a checked bundle.
package bundle

import (
	"errors"

	"inventorybeacon/policy"
)

// A Bundle is a checked bundle with the files it brings.
type Bundle struct {
	policy.Bundle
	Warnings []string
}

// A Mistake is one thing wrong with a bundle.
type Mistake struct {
	File    string
	Line    int // 0: the file as a whole
	Message string
}

// Mistakes is every mistake found in one bundle; it is an error.
type Mistakes []Mistake

func (m Mistakes) Error() string { return "" }

// Open reads the folder or archive at path. The error is Mistakes if it is
// wrong, or an I/O error. Close the bundle to free what it unpacked.
func Open(path string) (*Bundle, error) { return nil, errors.ErrUnsupported }

// Close removes what was unpacked.
func (b *Bundle) Close() error { return nil }
