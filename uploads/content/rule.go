package content

import (
	"strings"

	"inventorybeacon/uploads"
)

// A Rule says what becomes of files whose content is bad.
type Rule string

const (
	// Default is Refuse for what our agents bring themselves, and Flag for the
	// rest: an old agent would send for ever what is refused, and what another
	// beacon relays was answered for there, perhaps by a person who released it.
	Default Rule = ""
	// Refuse answers what shows in the first bytes with an error, and puts what is
	// found later into quarantine.
	Refuse Rule = "refuse"
	// Flag takes, marks and relays.
	Flag Rule = "flag"
	// Off judges nothing.
	Off Rule = "off"
)

// Rules are those of the kinds that have one of their own, by lower-case folder.
type Rules map[string]Rule

// For returns the rule for a file, never Default. What cannot be judged, and what
// a person released, is not.
func (r Rules) For(u uploads.Upload) Rule {
	rule := r[strings.ToLower(u.Kind)]
	switch {
	case rule == Off, u.Released, !Judged(u.Name):
		return Off
	case rule != Default:
		return rule
	case u.AgentID != "" && len(u.Via) == 0:
		return Refuse
	}
	return Flag
}

// Skips reports whether no file of a kind is judged.
func (r Rules) Skips(kind string) bool { return r[strings.ToLower(kind)] == Off }
