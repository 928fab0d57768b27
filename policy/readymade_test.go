package policy_test

import (
	"testing"

	"inventorybeacon/policy"
)

func TestPolicyPathIsRead(t *testing.T) {
	for path, want := range map[string][2]string{
		"Policies/Merged/EXAMPLE_domain/Machine/site servers.npl": {"EXAMPLE", "site servers"},
		"policies/merged/my_site_DOMAIN/MACHINE/pc1.NPL":          {"my_site", "pc1"},
	} {
		if domain, device, ok := policy.PolicyPath(path); !ok || domain != want[0] || device != want[1] {
			t.Errorf("%s: %q %q %v", path, domain, device, ok)
		}
	}
	for _, path := range []string{"", "Policies/Merged/_domain/Machine/a.npl", "Policies/Merged/X_domain/Machine/.npl",
		"Policies/Merged/X/Machine/a.npl", "Policies/Merged/X_domain/Machine/a.osd", "Policies/Merged/X_domain/Machine/a/b.npl", "Policies/a.npl"} {
		if _, _, ok := policy.PolicyPath(path); ok {
			t.Errorf("%s is taken for a device's policy", path)
		}
	}
}

func TestCachedPolicyNamesItsDevice(t *testing.T) {
	tests := []struct {
		path, device string
		ambiguous    bool
	}{
		{"Policies/pc1-A1B2C3.npl", "pc1", false},
		{"Policies/site-pc1-{11111111-2222-4333-8444-555555555555}.npl", "site-pc1", false},
		{"Policies/site-pc1-11111111-2222-4333-8444-555555555555.npl", "site-pc1", false},
		{"policies/pc1-A1.NPL", "pc1", false},
		{"Policies/site-pc1-A1B2C3.npl", "", true},
		{"Policies/device.npl", "", false},
		{"Policies/pc1-.npl", "", false},
		{"Policies/-A1.npl", "", false},
		{"Policies/sub/pc1-A1.npl", "", false},
		{"Schedules/pc1-A1.npl", "", false},
		{"Policies/pc1-A1.osd", "", false},
	}
	for _, tt := range tests {
		if device, ambiguous := policy.CachedPolicy(tt.path); device != tt.device || ambiguous != tt.ambiguous {
			t.Errorf("%s: %q %v, want %q %v", tt.path, device, ambiguous, tt.device, tt.ambiguous)
		}
	}
}
