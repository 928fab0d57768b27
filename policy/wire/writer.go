package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A writer builds a document line by line. The first value that cannot be
// written at all is kept as its error.
type writer struct {
	b   strings.Builder
	err error
}

func newWriter(doctype string) *writer {
	w := &writer{}
	w.b.WriteString("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n")
	if doctype != "" {
		w.b.WriteString("<!DOCTYPE " + doctype + ">\n")
	}
	return w
}

// open writes a start tag with attributes given as name, value, name, value.
func (w *writer) open(depth int, name string, attrs ...string) { w.tag(depth, name, ">", attrs) }

// empty writes an element without contents.
func (w *writer) empty(depth int, name string, attrs ...string) { w.tag(depth, name, " />", attrs) }

// text writes an element that holds text.
func (w *writer) text(depth int, name, text string) {
	w.line(depth, "<"+name+">"+w.escape(text)+"</"+name+">")
}

func (w *writer) close(depth int, name string) { w.line(depth, "</"+name+">") }

func (w *writer) tag(depth int, name, end string, attrs []string) {
	var b strings.Builder
	b.WriteString("<" + name)
	for i := 0; i+1 < len(attrs); i += 2 {
		b.WriteString(" " + attrs[i] + `="` + w.escape(attrs[i+1]) + `"`)
	}
	w.line(depth, b.String()+end)
}

func (w *writer) line(depth int, s string) {
	w.b.WriteString(strings.Repeat("  ", depth) + s + "\n")
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\t", "&#9;", "\n", "&#10;", "\r", "&#13;")

func (w *writer) escape(s string) string {
	if !utf8.ValidString(s) && w.err == nil {
		w.err = fmt.Errorf("%q is not UTF-8", s)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !xmlRune(r) }); i >= 0 && w.err == nil {
		w.err = fmt.Errorf("%q holds a character that XML cannot carry", s)
	}
	return escaper.Replace(s)
}

func (w *writer) bytes() ([]byte, error) { return []byte(w.b.String()), w.err }
