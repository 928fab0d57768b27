package fleet

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"inventorybeacon/uploads"
)

// maxExpected bounds the devices of a list, above what one beacon can know.
const maxExpected = 250_000

// maxMistakes bounds those that are told of one file.
const maxMistakes = 100

// ParseExpected reads the names of devices that should report: CSV with a device's
// name, its domain if that is to be compared, and columns that do not matter. Lines
// that begin with # and a first line that says "name" or "device" are passed over.
// All mistakes are told at once, each with its line.
func ParseExpected(text []byte) ([]uploads.Device, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\uFEFF"))))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment = -1, true, '#'
	var found []uploads.Device
	var bad []error
	lines := map[uploads.Device]int{}
	for first := true; len(bad) < maxMistakes; first = false {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if perr, ok := errors.AsType[*csv.ParseError](err); ok {
			bad = append(bad, fmt.Errorf("line %d: %w", perr.Line, perr.Err))
			continue
		}
		line, _ := r.FieldPos(0)
		if first && isHeader(record) {
			continue
		}
		d, err := expected(record)
		if before := lines[d.Key()]; err == nil && before > 0 {
			err = fmt.Errorf("%s is on line %d already", d, before)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		lines[d.Key()] = line
		found = append(found, d)
	}
	switch {
	case len(bad) > 0:
		return nil, errors.Join(bad...)
	case len(found) == 0:
		return nil, errors.New("it names no device")
	case len(found) > maxExpected:
		return nil, fmt.Errorf("%d devices; %d are possible", len(found), maxExpected)
	}
	return found, nil
}

func isHeader(record []string) bool {
	return slices.Contains([]string{"name", "device", "hostname", "computer"}, strings.ToLower(strings.TrimSpace(record[0])))
}

func expected(record []string) (d uploads.Device, err error) {
	d.Name = strings.TrimSpace(record[0])
	if len(record) > 1 {
		d.Domain = strings.TrimSpace(record[1])
	}
	for what, s := range map[string]string{"name": d.Name, "domain": d.Domain} {
		if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
			return d, fmt.Errorf("the %s %.40q is too long, or no text", what, s)
		}
	}
	if d.Name == "" {
		return d, errors.New("the name is empty")
	}
	return d, nil
}

// FormatExpected writes a list as [ParseExpected] reads it.
func FormatExpected(devices []uploads.Device) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write([]string{"name", "domain"}) // to memory
	for _, d := range devices {
		w.Write([]string{d.Name, d.Domain})
	}
	w.Flush()
	return b.Bytes()
}
