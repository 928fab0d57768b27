// Package receipts keeps what is known of uploads whose bodies are gone.
//
// What arrives is appended to a log, whose entries are found by two tables in
// memory. A log that is full becomes a run: a file of blocks of receipts in the
// order of name and digest, with a guide of less than two bytes for each that is
// kept in memory and tells where a receipt would lie, so that finding one reads
// one block, and not finding one hardly ever reads any. Runs next to each other
// are merged as they become many, until they hold a million receipts or so.
//
//	Append -> receipts.log -> 00000007.log -> 00000007-00000007.0.run -> 00000001-00000007.0.run
//
// A file that is visible under the name of a run is whole. Which files count is
// told by their names alone, see names.go. docs/FORMATS.md has the formats.
package receipts

import (
	"crypto/sha256"
	"hash/crc32"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
)

// A NameID stands for a kind and a name in any case.
type NameID [16]byte

// NameIDOf returns the identity of a name.
func NameIDOf(kind string, name uploads.Name) NameID {
	sum := sha256.Sum256([]byte(kind + "\n" + name.Key()))
	return NameID(sum[:16])
}

// A FileID stands for certain bytes under a name.
type FileID struct {
	Name   NameID
	Digest uploads.Digest
}

// An Entry is all that is known of an upload that left.
type Entry struct {
	Upload journal.Upload
	Marks  []*journal.Mark
}

// Lost says whether the upload left without being delivered.
func (e *Entry) Lost() bool {
	for _, m := range e.Marks {
		if m.Lost() {
			return true
		}
	}
	return false
}

// last is the highest number in it; the lowest is the upload's own.
func (e *Entry) last() uint64 {
	last := e.Upload.Seq
	for _, m := range e.Marks {
		last = max(last, m.Event)
	}
	return last
}

// latest is when something last happened to the upload.
func (e *Entry) latest() time.Time {
	at := e.Upload.Received
	for _, m := range e.Marks {
		if m.At.After(at) {
			at = m.At
		}
	}
	return at
}

// A keyed entry is one with where it belongs in a run.
type keyed struct {
	*Entry
	id FileID
}

func keyedOf(e *Entry) keyed {
	return keyed{e, FileID{NameIDOf(e.Upload.Kind, e.Upload.Name), e.Upload.Digest}}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
