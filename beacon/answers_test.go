package beacon

import (
	"strings"
	"testing"

	"inventorybeacon/policy"
	"inventorybeacon/policy/revision"
)

type nothing struct{}

func (nothing) Policy(policy.Query) (*revision.Object, error) { return nil, policy.ErrNone }
func (nothing) File(string) (*revision.Object, error)         { return nil, policy.ErrNoFile }

func TestAnswersRememberOnlyOrdinaryRequests(t *testing.T) {
	var c answers
	short, long := "/"+strings.Repeat("a", maxURI-1), "/"+strings.Repeat("a", maxURI)
	for _, uri := range []string{short, long} {
		c.put(uri, nothing{}, &answer{})
	}
	if c.get(short, nothing{}) == nil {
		t.Error("an ordinary request is forgotten")
	}
	if c.get(long, nothing{}) != nil {
		t.Error("a request longer than any of ours is kept")
	}
}
