// Package document looks at the beginning of an inventory for what it says
// about the machine it is of. It reads no further than it is given, follows
// nothing that the document refers to, and believes nothing: what it returns is
// what somebody wrote.
package document

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"sync"
)

// HeadBytes is how much of a file, and CompressedHeadBytes how much of one in
// gzip, is enough to find the root element of every inventory seen. All of a
// compressed head is inflated, which is most of what looking at it costs: more
// would slow every upload of an old agent.
const (
	HeadBytes           = 4 << 10
	CompressedHeadBytes = 1 << 10
)

// inflated bounds what the head of a compressed file is inflated to.
const inflated = 16 << 10

// A gzip reader is 40 KiB; one for each upload would keep the collector busy.
var inflaters = sync.Pool{New: func() any { return new(gzip.Reader) }}

// An Origin is what an inventory's root element says of its machine.
type Origin struct {
	Machine string // MachineName
	Scope   string // Scope: the domain, for ordinary machines
}

// OriginOf reads the root element of an inventory (.ndi) whose first bytes are
// head, compressed or not. It returns nothing if that is not what head is.
func OriginOf(head []byte, compressed bool) Origin {
	var r io.Reader = bytes.NewReader(head)
	if compressed {
		zr := inflaters.Get().(*gzip.Reader)
		defer inflaters.Put(zr)
		if err := zr.Reset(r); err != nil {
			return Origin{}
		}
		r = io.LimitReader(zr, inflated)
	}
	dec := xml.NewDecoder(r)
	dec.Strict = false // the incumbent's documents are not always namespace-valid
	dec.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errCharset }
	for {
		token, err := dec.RawToken()
		if err != nil {
			return Origin{}
		}
		switch token := token.(type) {
		case xml.Directive:
			if bytes.ContainsAny(token, "[]") { // an internal subset, which may define anything
				return Origin{}
			}
		case xml.StartElement:
			return rootOrigin(token)
		}
	}
}

func rootOrigin(root xml.StartElement) (o Origin) {
	if !strings.EqualFold(root.Name.Local, "Inventory") {
		return o
	}
	for _, a := range root.Attr {
		switch strings.ToLower(a.Name.Local) {
		case "machinename":
			o.Machine = a.Value
		case "scope":
			o.Scope = a.Value
		}
	}
	return o
}

var errCharset = errors.New("only UTF-8 is read here")
