package policy

import (
	"fmt"
	"slices"
	"strings"
)

// ForgetLevels are the values of the setting ForgetAt in section Agent, the
// lowest first: who must have a file before the agent may forget it, the beacon
// that took it, a beacon above that one, or the store at the end.
var ForgetLevels = []string{"beacon", "parent", "store"}

// ForgetAt returns the value of that setting, the lowest if it is not given. One
// that is none of ForgetLevels gives the lowest, and an error that says so.
func (s Settings) ForgetAt() (string, error) {
	given := s.get("Agent", "ForgetAt")
	level := strings.ToLower(strings.TrimSpace(given))
	switch {
	case level == "":
		return ForgetLevels[0], nil
	case !slices.Contains(ForgetLevels, level):
		return ForgetLevels[0], fmt.Errorf("settings: Agent: ForgetAt: %q is none of %s: agents take %s", given, strings.Join(ForgetLevels, ", "), ForgetLevels[0])
	}
	return level, nil
}

// get finds a setting by its section and name, in any case.
func (s Settings) get(section, name string) string {
	for have, values := range s {
		if !strings.EqualFold(have, section) {
			continue
		}
		for n, v := range values {
			if strings.EqualFold(n, name) {
				return v
			}
		}
	}
	return ""
}
