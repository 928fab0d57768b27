// Package document reads inventories and other XML documents that strangers
// wrote, for whether they are well-formed and for what their root element says.
// It keeps nothing of a document but the names of the elements that are open and
// what it was asked for, so that memory does not grow with what it reads; it
// follows nothing that a document refers to, since it opens no file and no
// connection; and it believes nothing: what it returns is what somebody wrote.
//
// A document type with an external identifier is normal in the incumbent's
// formats and passed over. One with an internal subset, which could define
// entities, is refused.
package document

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// What a document may be made of. Programs further up hold elements, names and
// values in memory; more would let a document hurt them, fewer would refuse
// honest ones, whose depth is 5, whose elements have 20 attributes, and of whose
// values the longest are some kilobytes.
const (
	MaxDepth      = 64
	MaxElements   = 16 << 20
	MaxAttributes = 256     // of one element
	MaxName       = 256     // bytes
	MaxToken      = 1 << 20 // bytes of a value, a text or a comment
)

// An Error is why a document is refused, and behind how many of its bytes. It
// quotes nothing of the document.
type Error struct {
	At   int64
	What string
}

func (e *Error) Error() string { return fmt.Sprintf("%s, at byte %d", e.What, e.At) }

// A Root is what a document's root element says.
type Root struct {
	Name    string // without a prefix
	Machine string // MachineName of an inventory
	Scope   string // Scope: the domain, for ordinary machines
}

// Is reports whether the root element has that name, in any case.
func (r Root) Is(name string) bool { return strings.EqualFold(r.Name, name) }

// Begin reads a document up to the end of its root element's start tag. It fails
// with an [*Error], or with what r failed with, which is
// [io.ErrUnexpectedEOF] if r ends before.
func Begin(r io.Reader) (Root, error) {
	s := take(r)
	defer s.give()
	err := s.begin()
	return s.root, err
}

// Read reads all of a document and fails likewise.
func Read(r io.Reader) (Root, error) {
	s := take(r)
	defer s.give()
	if err := s.begin(); err != nil {
		return s.root, err
	}
	for len(s.open) > 0 {
		if err := s.text(); err != nil {
			return s.root, err
		}
		if err := s.markup(); err != nil {
			return s.root, err
		}
	}
	return s.root, s.epilogue()
}

// A scanner has buffers of some 20 KiB; one for each upload would keep the
// collector busy.
var scanners = sync.Pool{New: func() any { return &scanner{input: input{buf: make([]byte, bufferBytes)}} }}

func take(r io.Reader) *scanner {
	s := scanners.Get().(*scanner)
	s.input.reset(r)
	s.names, s.open, s.root = s.names[:0], s.open[:0], Root{}
	s.elements, s.anyBytes = 0, false
	return s
}

func (s *scanner) give() {
	s.input.reset(nil)
	scanners.Put(s)
}
