package wire

import (
	"fmt"
	"strings"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/schedule"
)

// A Schedule is an .nds that holds events. An event read with a command that
// is none we know has an empty Run, and the command in its Args.
type Schedule struct {
	Name    string
	Created time.Time // whole seconds, UTC
	Events  []schedule.Event
}

const (
	stampLayout = "20060102T150405Z"
	// component names our own agent in a command. Only PolicyClient/Apply is a
	// command of the incumbent that is publicly known.
	component = "BeaconAgent"
	// policyParam is what the public examples pass to PolicyClient.
	policyParam = "-t Machine -o UserInteractionLevel=Quiet"
)

// Bytes writes the schedule. What an old agent can be told is [Classic].
func (s Schedule) Bytes() ([]byte, error) {
	w := newWriter(`Schedule PUBLIC "ManageSoft Schedule" "http://www.managesoft.com/schedule.dtd"`)
	w.open(0, "Schedule", "SCHEDSCHEMA", "60", "NAME", s.Name, "TIMEDATESTAMP", s.Created.UTC().Format(stampLayout))
	for _, e := range s.Events {
		if !policy.ValidRun(e.Run) {
			return nil, fmt.Errorf("event %q: %q is nothing to run", e.Name, e.Run)
		}
		writeEvent(w, e)
	}
	w.close(0, "Schedule")
	return w.bytes()
}

func writeEvent(w *writer, e schedule.Event) {
	catchup := "Never"
	if e.Catchup == schedule.Once {
		catchup = "Once"
	}
	comp, action, param := command(e)
	w.open(1, "Event", "NETWORK", fmt.Sprint(e.NeedsNetwork), "NAME", e.Name, "ID", e.ID,
		"CATCHUP", catchup, "IDLEDURATION", seconds(e.Idle))
	w.empty(2, "LogicalCommand", "PARAM", param, "COMPONENT", comp, "ACTION", action)
	for _, t := range e.Triggers {
		w.empty(2, "Trigger", triggerAttrs(t)...)
	}
	w.close(1, "Event")
}

// command returns the logical command of an event.
func command(e schedule.Event) (comp, action, param string) {
	if e.Run == "policy" {
		return "PolicyClient", "Apply", policyParam
	}
	if name, ok := strings.CutPrefix(e.Run, "command:"); ok {
		return component, "Command", name
	}
	return component, strings.ToUpper(e.Run[:1]) + e.Run[1:], e.Args
}

// readCommand is the reverse of command.
func readCommand(e *schedule.Event, comp, action, param string) {
	switch {
	case strings.EqualFold(comp, "PolicyClient") && strings.EqualFold(action, "Apply"):
		e.Run = "policy" // what it passes concerns the incumbent's client
		return
	case strings.EqualFold(comp, component) && strings.EqualFold(action, "Command") && policy.ValidName(param):
		e.Run = "command:" + param
		return
	case strings.EqualFold(comp, component):
		for _, r := range policy.Runs {
			if strings.EqualFold(action, r) {
				e.Run, e.Args = r, param
				return
			}
		}
	}
	e.Args = strings.TrimSpace(comp + "/" + action + " " + strings.TrimSpace(param))
}

// ReadSchedule reads an .nds of events.
func ReadSchedule(b []byte) (Schedule, error) {
	root, err := parse(b)
	if err != nil {
		return Schedule{}, err
	}
	if root.name != "schedule" {
		return Schedule{}, fmt.Errorf("%w: <%s> is not a schedule", ErrSyntax, root.name)
	}
	s := Schedule{Name: root.attr("name")}
	s.Created, _ = time.Parse(stampLayout, root.attr("timedatestamp")) // informative: a schedule without one is good
	for _, c := range root.children {
		if c.name != "event" {
			continue
		}
		e, err := readEvent(c)
		if err != nil {
			return Schedule{}, fmt.Errorf("%w: event %q: %w", ErrSyntax, c.attr("name"), err)
		}
		s.Events = append(s.Events, e)
	}
	return s, nil
}

func readEvent(c *element) (e schedule.Event, err error) {
	e.Name, e.ID = c.attr("name"), c.attr("id")
	if e.ID == "" {
		e.ID = schedule.EventID(e.Name)
	}
	e.NeedsNetwork = yes(c.attr("network"))
	if e.Idle, err = readSeconds(c.attr("idleduration")); err != nil {
		return e, err
	}
	// Never is the one value that is public; whatever else there is means
	// that a missed run is made up for.
	if v := c.attr("catchup"); v != "" && !strings.EqualFold(v, "never") {
		e.Catchup = schedule.Once
	}
	for _, part := range c.children {
		switch part.name {
		case "logicalcommand":
			readCommand(&e, part.attr("component"), part.attr("action"), part.attr("param"))
		case "trigger":
			t, err := readTrigger(part)
			if err != nil {
				return e, err
			}
			e.Triggers = append(e.Triggers, t)
		}
	}
	return e, nil
}
