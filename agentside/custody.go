package agentside

import (
	"log/slog"

	"inventorybeacon/agentside/pull"
	"inventorybeacon/policy"
)

// require makes the outbox keep files until they are where p, which may be nil,
// wants them. A value it does not know is told as a warning of the policy.
func (a *Agent) require(p *pull.Policy) error {
	if a.keeper == nil {
		return nil // the outbox is not open yet, and asks for itself then
	}
	var settings policy.Settings
	if p != nil {
		settings = p.Settings
	}
	level, _ := settings.ForgetAt()
	return a.keeper.Require(level)
}

// applied is require for a policy that comes into force while the agent runs.
func (a *Agent) applied(p *pull.Policy) {
	if err := a.require(p); err != nil {
		a.log.Error("files that may be forgotten are kept until a restart", slog.Any("err", err))
	}
}

// unsent is how many files no beacon has.
func (a *Agent) unsent() int {
	held := 0
	if a.keeper != nil {
		held = a.keeper.Status().Files
	}
	return max(0, a.spool.Stats().Pending-held)
}
