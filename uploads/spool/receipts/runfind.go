package receipts

import (
	"bytes"
	"cmp"
	"sort"
)

// compare is the order of a run; entries of one file follow in that of their
// numbers.
func (id FileID) compare(o FileID) int {
	return cmp.Or(bytes.Compare(id.Name[:], o.Name[:]), bytes.Compare(id.Digest[:], o.Digest[:]))
}

// find returns the newest receipt of a name that was not lost.
func (r *run) find(id NameID) (newest *Entry, err error) {
	from, to := r.guide.name(id)
	if from == to {
		return nil, nil
	}
	c := cursor{run: r}
	place, err := c.seek(FileID{Name: id}, from, to)
	if err != nil || place == to {
		return nil, err
	}
	if head, ok := r.heads.newest(place); ok {
		return c.headed(id, place, head)
	}
	for ; place < to; place++ {
		e, err := c.at(place)
		if err != nil || e.id.Name != id {
			return newest, err
		}
		if !e.Lost() && (newest == nil || e.Upload.Seq > newest.Upload.Seq) {
			newest = e.Entry
		}
	}
	return newest, nil
}

// findExact returns the newest receipt of a file.
func (r *run) findExact(id FileID) (newest *Entry, err error) {
	from, to := r.guide.file(id)
	if from == to {
		return nil, nil
	}
	c := cursor{run: r}
	place, err := c.seek(id, from, to)
	for ; place < to && err == nil; place++ {
		var e keyed
		if e, err = c.at(place); err != nil || e.id != id {
			break
		}
		newest = e.Entry
	}
	return newest, err
}

// A cursor reads receipts of a run and remembers the block.
type cursor struct {
	run     *run
	n       int // of the block
	records []record
}

func (c *cursor) at(place int) (keyed, error) {
	if n := place / blockEntries; c.records == nil || c.n != n {
		records, err := c.run.records(n)
		if err != nil {
			return keyed{}, err
		}
		c.n, c.records = n, records
	}
	i := place % blockEntries
	if i >= len(c.records) {
		return keyed{}, c.run.spoilt(c.n, errDamaged)
	}
	e, err := c.records[i].entry()
	if err != nil {
		return keyed{}, c.run.spoilt(c.n, err)
	}
	return keyedOf(e), nil
}

// seek returns the first place in [from, to) whose receipt is not before id, or
// to. Nearly always there is one place only, or one block.
func (c *cursor) seek(id FileID, from, to int) (int, error) {
	var failed error
	n := sort.Search(to-from, func(i int) bool {
		e, err := c.at(from + i)
		if err != nil {
			failed = err
			return true
		}
		return e.id.compare(id) >= 0
	})
	return from + n, failed
}

// headed reads the receipt that the head of the receipts at place points to, if
// they are of that name.
func (c *cursor) headed(id NameID, place, head int) (*Entry, error) {
	if e, err := c.at(place); err != nil || e.id.Name != id || head == noHead {
		return nil, err
	}
	e, err := c.at(head)
	return e.Entry, err
}
