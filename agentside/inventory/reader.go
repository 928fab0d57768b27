package inventory

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Limits of a document that is read: far above any honest one.
const (
	maxDocument = 256 << 20
	maxDepth    = 16
)

// ReadSummary reads an uncompressed .ndi as a stream and returns what it says
// in short. Names of attributes may be in any case. A DOCTYPE is not followed,
// and one with an internal subset is refused.
func ReadSummary(r io.Reader) (Summary, error) {
	s, err := readSummary(xml.NewDecoder(io.LimitReader(r, maxDocument)))
	if err != nil {
		return Summary{}, fmt.Errorf("read inventory: %w", err)
	}
	return s, nil
}

func readSummary(dec *xml.Decoder) (sum Summary, err error) {
	depth, rooted := 0, false
	for {
		tok, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF) && rooted && depth == 0:
			return sum, nil
		case errors.Is(err, io.EOF):
			return sum, io.ErrUnexpectedEOF
		case err != nil:
			return sum, err
		}
		switch tok := tok.(type) {
		case xml.Directive:
			if strings.ContainsAny(string(tok), "[]") {
				return sum, errors.New("the DOCTYPE has an internal subset")
			}
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return sum, fmt.Errorf("nested deeper than %d", maxDepth)
			}
			if depth == 1 && (rooted || tok.Name.Local != "Inventory") {
				return sum, fmt.Errorf("<%s> in place of one <Inventory>", tok.Name.Local)
			}
			rooted = true
			if err := sum.take(depth, tok); err != nil {
				return sum, err
			}
		case xml.EndElement:
			depth--
		}
	}
}

// take counts one element.
func (s *Summary) take(depth int, el xml.StartElement) (err error) {
	get := func(name string) string {
		for _, a := range el.Attr {
			if strings.EqualFold(a.Name.Local, name) {
				return a.Value
			}
		}
		return ""
	}
	switch {
	case depth == 1:
		s.MachineName, s.Scope, s.Type, s.DateTime = get("MachineName"), get("Scope"), get("Type"), get("DateTime")
	case depth != 2:
	case el.Name.Local == "Hardware":
		s.Hardware++
	case el.Name.Local == "Package":
		s.Packages++
	case el.Name.Local == "Section":
		sec := SectionSummary{Name: get("Name"), Status: Status(get("Status")), Error: get("Error")}
		if sec.Count, err = strconv.Atoi(get("Count")); err != nil {
			return fmt.Errorf("section %q: %w", sec.Name, err)
		}
		s.Sections = append(s.Sections, sec)
	}
	return nil
}
