package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// A Catalogue is an .osd: it says what the body of a package is, so that a
// device can tell whether it has it already.
//
// Public are the root element with its attributes, TITLE and ABSTRACT, and
// that the document points to the body and carries its MD5. How the incumbent
// spells the pointer and the sum is not: we write the CODEBASE element of the
// W3C's OSD note, with the sums as attributes.
type Catalogue struct {
	Name    string // of the package, such as Default Machine Schedule
	Type    string // such as Schedule
	Version string // four numbers with commas; empty means 1,0,0,0
	Href    string // of the body
	Size    int64  // of the body; -1 if the document does not say
	MD5     string // hex, for old agents; empty if the document does not say
	SHA256  string // hex, for ours
}

// Bytes writes the document.
func (c Catalogue) Bytes() ([]byte, error) {
	w := newWriter(`SOFTPKG SYSTEM "http://www.managesoft.com/softpkg.dtd"`)
	version := c.Version
	if version == "" {
		version = "1,0,0,0"
	}
	w.open(0, "SOFTPKG", "NAME", c.Name, "TYPE", c.Type, "VERSION", version, "FORMAT", "1.5")
	w.text(1, "TITLE", c.Name)
	w.text(1, "ABSTRACT", "")
	w.open(1, "IMPLEMENTATION")
	w.empty(2, "CODEBASE", "HREF", c.Href, "SIZE", strconv.FormatInt(c.Size, 10), "MD5", c.MD5, "SHA256", c.SHA256)
	w.close(1, "IMPLEMENTATION")
	w.close(0, "SOFTPKG")
	return w.bytes()
}

// ReadCatalogue reads an .osd. The pointer and the sums may stand in any
// element, with or without the NETDEPLOY prefix.
func ReadCatalogue(b []byte) (Catalogue, error) {
	root, err := parse(b)
	if err != nil {
		return Catalogue{}, err
	}
	if root.name != "softpkg" {
		return Catalogue{}, fmt.Errorf("%w: <%s> is not a catalogue", ErrSyntax, root.name)
	}
	c := Catalogue{Name: root.attr("name"), Type: root.attr("type"), Version: root.attr("version"), Size: -1}
	root.all(c.read)
	return c, nil
}

func (c *Catalogue) read(e *element) {
	if e.local() == "codebase" {
		set(&c.Href, e.attr("href", "filename"))
	}
	if n, err := strconv.ParseInt(e.attr("size"), 10, 64); err == nil && n >= 0 && c.Size < 0 {
		c.Size = n
	}
	set(&c.MD5, hexSum(e.attr("md5"), 32))
	set(&c.SHA256, hexSum(e.attr("sha256"), 64))
	switch e.local() {
	case "md5", "checksum", "md5checksum", "digest":
		value := e.attr("value", "checksum")
		if value == "" {
			value = e.text()
		}
		set(&c.MD5, hexSum(value, 32))
		set(&c.SHA256, hexSum(value, 64))
	}
}

// set keeps the first value found.
func set(to *string, value string) {
	if *to == "" {
		*to = value
	}
}

// hexSum returns s in lower case if it is so many hex digits, else "".
func hexSum(s string, digits int) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) != digits || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}
