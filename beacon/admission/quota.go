package admission

import (
	"fmt"
	"sync"
)

// A Share is how much of one source may be held at a time; 0 is no limit.
type Share struct {
	Files int
	Bytes int64
}

// A QuotaError is a source that has used up its share.
type QuotaError struct {
	Reason Reason
	text   string
}

func (e *QuotaError) Error() string { return e.text }

// A Quota bounds what is held of each source: what lies in the spool, and what
// is on its way there. It may be used from several goroutines.
type Quota struct {
	// Held returns what lies in the spool.
	Held func(source string) (files int, bytes int64)

	mu     sync.Mutex
	coming map[string]*Share // never more than there are uploads in flight
}

// Enter counts a file that is about to come against its source. The caller must
// call Leave with what it has counted.
func (q *Quota) Enter(source string, limit Share, bytes int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.coming[source]
	if c == nil {
		c = &Share{}
	}
	if err := q.check(source, limit, c.Files+1, c.Bytes+bytes); err != nil {
		return err
	}
	if q.coming == nil {
		q.coming = map[string]*Share{}
	}
	c.Files++
	c.Bytes += bytes
	q.coming[source] = c
	return nil
}

// Grow counts bytes that had not been announced.
func (q *Quota) Grow(source string, limit Share, bytes int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.coming[source]
	if err := q.check(source, limit, c.Files, c.Bytes+bytes); err != nil {
		return err
	}
	c.Bytes += bytes
	return nil
}

// Leave gives back what Enter and Grow counted: the file is held now, or gone.
func (q *Quota) Leave(source string, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.coming[source]
	c.Files--
	c.Bytes -= bytes
	if c.Files == 0 {
		delete(q.coming, source)
	}
}

// check answers for so many files and bytes that are coming. A source that holds
// nothing may send one file whatever its size: the kind's limit bounds that.
func (q *Quota) check(source string, limit Share, files int, bytes int64) error {
	held, size := q.Held(source)
	switch {
	case limit.Files > 0 && held+files > limit.Files:
		return &QuotaError{QuotaFiles, fmt.Sprintf("%d files of %s wait; %d may", held, source, limit.Files)}
	case limit.Bytes > 0 && size+bytes > limit.Bytes && held+files > 1:
		return &QuotaError{QuotaBytes, fmt.Sprintf("%d bytes of %s wait; %d may", size, source, limit.Bytes)}
	}
	return nil
}
