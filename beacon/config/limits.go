package config

// checkChosen checks the limits that are chosen for the machine where none is
// configured.
func (c *Config) checkChosen(bad report) {
	s := c.Spool
	if s.LogFree > 0 && s.LogFree < s.MinFree {
		bad("spool.log_free", "is below spool.min_free: logs would be taken when inventories are not")
	}
	if s.MinFree > 0 && s.PolicyFree > s.MinFree {
		bad("spool.policy_free", "is above spool.min_free: nothing but policy would be served while uploads are taken")
	}
	if n := c.Limits.BytesInFlight; n > 0 && n < 1<<20 {
		bad("limits.bytes_in_flight", "must be at least 1MiB")
	}
	if per := c.Limits.ConnectionsPerPeer; per > c.Limits.Connections {
		bad("limits.connections_per_peer", "is above limits.connections")
	}
}
