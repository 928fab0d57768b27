package pull

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"inventorybeacon/failover"
	"inventorybeacon/policy"
	"inventorybeacon/policy/wire"
	"inventorybeacon/schedule"
	"inventorybeacon/uploads"
)

// A Policy is a verified set of documents and what they say. It is not changed
// once it is in force.
type Policy struct {
	Revision  policy.Revision
	Digest    uploads.Digest // of the policy document
	From      string         // the location it came from
	Taken     time.Time
	Documents []Document // the policy document first

	Events   []schedule.Event
	Stamp    string // identifies the schedule: it changes when the schedule does
	Settings policy.Settings
	Failover *Failover // nil: the policy names no beacons
	Warnings []string  // what it asks for that this agent does not do
}

// Failover is a policy's list of beacons and how to order it.
type Failover struct {
	Selector  string
	Locations []failover.Location
}

func (p *Policy) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// document finds a held document; p may be nil.
func (p *Policy) document(path string) (Document, bool) {
	if p == nil {
		return Document{}, false
	}
	for _, d := range p.Documents {
		if d.Path == path {
			return d, true
		}
	}
	return Document{}, false
}

// read makes sense of the documents: after the policy document, a catalogue
// and a body in turn.
func (p *Policy) read() error {
	p.Settings = policy.Settings{}
	for i := 2; i < len(p.Documents); i += 2 {
		d := p.Documents[i]
		if err := p.readBody(d); err != nil {
			return fmt.Errorf("%s: %w", d.Path, err)
		}
	}
	return nil
}

func (p *Policy) readBody(d Document) error {
	if strings.HasPrefix(d.Path, "Schedules/") {
		return p.readSchedule(d)
	}
	settings, notSettings := wire.ReadSettings(d.Body)
	if notSettings == nil {
		p.merge(settings)
		return nil
	}
	list, notFailover := wire.ReadFailover(d.Body)
	switch {
	case notFailover == nil:
		return p.readFailover(list)
	case strings.Contains(strings.ToLower(path.Base(d.Path)), "failover"):
		return notFailover
	}
	return notSettings
}

func (p *Policy) merge(s policy.Settings) {
	for section, values := range s {
		if p.Settings[section] == nil {
			p.Settings[section] = map[string]string{}
		}
		maps.Copy(p.Settings[section], values)
	}
}

func (p *Policy) readSchedule(d Document) error {
	doc, err := wire.ReadSchedule(d.Body)
	if err != nil {
		return err
	}
	for _, e := range doc.Events {
		if e.Run == "" {
			p.warn("event %q runs %q, which this agent does not know: ignored", e.Name, e.Args)
			continue
		}
		p.Events = append(p.Events, e)
	}
	p.Stamp += d.SHA256.String()[:16]
	plan, err := schedule.NewPlan("", time.UTC, schedule.State{})
	if err != nil {
		return err
	}
	return plan.Apply(p.Events, "", p.Taken)
}

func (p *Policy) readFailover(list policy.Failover) error {
	f := &Failover{Selector: list.Selector}
	if _, warnings, err := failover.ParseChain(list.Selector); err != nil {
		return fmt.Errorf("selector: %w", err)
	} else {
		p.Warnings = append(p.Warnings, warnings...)
	}
	for _, b := range list.Beacons {
		if b.Download == "" && b.Upload == "" {
			return errors.New("a beacon without an address")
		}
		f.Locations = append(f.Locations, failover.Location{
			Name: b.Name, Download: b.Download, Upload: b.Upload, Priority: b.Priority, Auto: b.Auto, Invalid: b.Invalid, Proxy: b.Proxy,
		})
	}
	p.Failover = f
	return nil
}
