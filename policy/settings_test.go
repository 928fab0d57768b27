package policy_test

import (
	"strings"
	"testing"

	"inventorybeacon/policy"
)

func TestSettingsSayWhenToForget(t *testing.T) {
	for _, tt := range []struct {
		s     policy.Settings
		want  string
		wrong bool
	}{
		{nil, "beacon", false},
		{policy.Settings{"Tracker": {"ForgetAt": "store"}}, "beacon", false},
		{policy.Settings{"Agent": {"ForgetAt": "store"}}, "store", false},
		{policy.Settings{"AGENT": {"forgetat": " Parent "}}, "parent", false},
		{policy.Settings{"Agent": {"ForgetAt": "moon"}}, "beacon", true},
		{policy.Settings{"Agent": {"ForgetAt": ""}}, "beacon", false},
	} {
		got, err := tt.s.ForgetAt()
		if got != tt.want || (err != nil) != tt.wrong {
			t.Errorf("%v: %q, %v", tt.s, got, err)
		}
		if tt.wrong && !strings.Contains(err.Error(), `"moon" is none of beacon, parent, store`) {
			t.Errorf("it says %v", err)
		}
	}
}
