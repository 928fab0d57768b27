package inventory

import (
	"bufio"
	"io"
	"strconv"
	"unicode/utf8"

	"inventorybeacon/uploads"
)

const (
	documentType = "Full"
	prologue     = `<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE Inventory PUBLIC "Inventory" "http://www.managesoft.com/inventory.dtd">
`
)

func (d *Document) dateTime() string { return d.Time.Format(uploads.TimestampLayout) }

// WriteTo writes the document as .ndi: flat, as the format wants it, each
// section's status in front of its entries. It implements [io.WriterTo].
func (d *Document) WriteTo(w io.Writer) (int64, error) {
	count := &countingWriter{w: w}
	x := &xmlWriter{Writer: bufio.NewWriter(count)}
	x.WriteString(prologue)
	x.element("", "Inventory", false,
		"Tracker", d.Identity.AgentVersion, "Audience", "Machine",
		"Scope", d.Identity.Domain, "MachineName", d.Identity.Name, "Username", d.Identity.User,
		"Hardware", "True", "Software", "True",
		"DateTime", d.dateTime(), "Type", documentType)
	for i := range d.Sections {
		x.section(&d.Sections[i])
	}
	x.WriteString("</Inventory>\n")
	err := x.Flush() // a bufio.Writer keeps its first error
	return count.n, err
}

type xmlWriter struct{ *bufio.Writer }

func (x *xmlWriter) section(s *Section) {
	x.element("  ", "Section", true,
		"Name", s.Name, "Status", string(s.Status), "Count", strconv.Itoa(s.Count()), "Error", s.Error)
	for i := range s.Hardware {
		x.hardware(&s.Hardware[i])
	}
	for i := range s.Packages {
		p := &s.Packages[i]
		x.element("  ", "Package", true,
			"Name", p.Name, "Version", p.Version, "Architecture", p.Architecture, "Vendor", p.Vendor,
			"Installed", p.Installed, "Size", p.Size, "State", p.State, "Evidence", p.Evidence)
	}
}

func (x *xmlWriter) hardware(h *Hardware) {
	x.element("  ", "Hardware", false, "Class", h.Class, "Name", h.Name, "Evidence", h.Evidence)
	for _, p := range h.Properties {
		x.element("    ", "Property", true, "Name", p.Name, "Value", p.Value)
	}
	x.WriteString("  </Hardware>\n")
}

// element writes a start tag, or an empty element, with the attributes that
// have a value. Characters that XML cannot hold become U+FFFD, and the
// attribute Replaced then says how many did.
func (x *xmlWriter) element(indent, name string, empty bool, attrs ...string) {
	x.all(indent, "<", name)
	replaced := 0
	for i := 0; i < len(attrs); i += 2 {
		if attrs[i+1] == "" {
			continue
		}
		x.all(" ", attrs[i], `="`)
		replaced += x.escape(attrs[i+1])
		x.WriteByte('"')
	}
	if replaced > 0 {
		x.all(` Replaced="`, strconv.Itoa(replaced), `"`)
	}
	if empty {
		x.WriteByte('/')
	}
	x.WriteString(">\n")
}

// all writes strings one by one: joined first, each would be an allocation.
func (x *xmlWriter) all(parts ...string) {
	for _, s := range parts {
		x.WriteString(s)
	}
}

// escape writes an attribute's value and returns how many characters it had to
// replace.
func (x *xmlWriter) escape(s string) (replaced int) {
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1 || !legal(r):
			replaced++
			x.WriteRune(utf8.RuneError)
		case named[r] != "":
			x.WriteString(named[r])
		case r < ' ' || r >= 0x7f && r < 0xa0:
			// A bare line break or tab would be read back as a space; DEL and the
			// C1 controls are legal, but no reader should meet them raw.
			x.all("&#", strconv.Itoa(int(r)), ";")
		default:
			x.WriteString(s[:size])
		}
		s = s[size:]
	}
	return replaced
}

var named = map[rune]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '"': "&quot;"}

// legal is Char of XML 1.0, for runes that UTF-8 can hold.
func legal(r rune) bool {
	return r >= ' ' && r != 0xfffe && r != 0xffff || r == '\t' || r == '\n' || r == '\r'
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
