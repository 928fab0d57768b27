package fleet

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// What a report may hold. Ours stay far below; more is somebody else's idea of one.
const (
	maxLine  = 16 << 10
	maxBytes = 256 << 20 // inflated
	maxName  = 255
	maxText  = 300
	maxKinds = 64
	maxState = 32 // sinks, and certificates
	// perBatch is how many devices are passed on at once.
	perBatch = 500
)

// ErrReport means that a file is no report that this program understands.
var ErrReport = errors.New("not a fleet status report")

// Read passes a report on: first the line about the beacon, then the devices, some
// at a time; an error of either function ends it. What is too long is cut, times
// after now become now, and lines about devices without a name or a time are passed
// over and counted. Members that are not known are ignored. An error that matches
// [ErrReport] may come after some devices were passed on, which count.
func Read(r io.Reader, gzipped bool, now time.Time, beacon func(Beacon) error, devices func([]Device) error) (passed int, err error) {
	if gzipped {
		z, err := gzip.NewReader(bufio.NewReader(r))
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrReport, err)
		}
		defer z.Close()
		r = z
	}
	left := &io.LimitedReader{R: r, N: maxBytes}
	lines := bufio.NewScanner(left)
	lines.Buffer(nil, maxLine)
	if err := readBeacon(lines, now, beacon); err != nil {
		return 0, err
	}
	passed, err = readDevices(lines, now, devices)
	switch {
	case err != nil:
		return passed, err
	case lines.Err() != nil:
		return passed, fmt.Errorf("%w: %w", ErrReport, lines.Err())
	case left.N <= 0:
		return passed, fmt.Errorf("%w: it is longer than %d bytes", ErrReport, maxBytes)
	}
	return passed, nil
}

func readBeacon(lines *bufio.Scanner, now time.Time, beacon func(Beacon) error) error {
	var b Beacon
	if !lines.Scan() {
		return fmt.Errorf("%w: it has no first line: %w", ErrReport, errors.Join(lines.Err(), io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(lines.Bytes(), &b); err != nil {
		return fmt.Errorf("%w: line 1: %w", ErrReport, err)
	}
	switch {
	case b.Version < 1 || b.Version > Version:
		return fmt.Errorf("%w: version %d, known is %d", ErrReport, b.Version, Version)
	case b.Beacon == "" || len(b.Beacon) > maxName || b.At.IsZero():
		return fmt.Errorf("%w: line 1: beacon or at is missing", ErrReport)
	}
	b.At = notAfter(b.At, now)
	b.EverySeconds = min(max(b.EverySeconds, 0), int64(fullEvery/time.Second))
	b.State.bound()
	return beacon(b)
}

func (s *State) bound() {
	s.Sinks = s.Sinks[:min(len(s.Sinks), maxState)]
	s.Certificates = s.Certificates[:min(len(s.Certificates), maxState)]
	s.Trouble = cut(s.Trouble)
	for i := range s.Sinks {
		s.Sinks[i].Name, s.Sinks[i].Error = cut(s.Sinks[i].Name), cut(s.Sinks[i].Error)
	}
	for i := range s.Certificates {
		s.Certificates[i].File = cut(s.Certificates[i].File)
	}
}

func readDevices(lines *bufio.Scanner, now time.Time, devices func([]Device) error) (passed int, err error) {
	var batch []Device
	for n := 2; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var d Device
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			return passed, errors.Join(fmt.Errorf("%w: line %d: %w", ErrReport, n, err), devices(batch))
		}
		if !d.bound(now) {
			passed++
			continue
		}
		if batch = append(batch, d); len(batch) == perBatch {
			if err := devices(batch); err != nil {
				return passed, err
			}
			batch = nil
		}
	}
	return passed, devices(batch)
}

// bound makes d no longer, and no later, than it may be, and reports whether it is
// of a device at all. A name that is cut would be another one's.
func (d *Device) bound(now time.Time) bool {
	if d.Name == "" || len(d.Name) > maxName || len(d.Domain) > maxName || len(d.AgentID) > maxName || d.Seen.IsZero() || d.Seen.Year() < 2000 {
		return false
	}
	d.Seen = notAfter(d.Seen, now)
	d.Address, d.Version, d.Error = cut(d.Address), cut(d.Version), cut(d.Error)
	for _, a := range []*Answer{d.Policy, d.Refusal} {
		if a != nil {
			a.At, a.Code, a.What = notAfter(a.At, now), cut(a.Code), cut(a.What)
		}
	}
	for kind, at := range d.Uploads {
		d.Uploads[kind] = notAfter(at, now)
		if len(d.Uploads) > maxKinds || len(kind) > maxName {
			delete(d.Uploads, kind)
		}
	}
	return true
}

func notAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}

func cut(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "")
	}
	return s
}
