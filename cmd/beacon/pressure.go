package main

import (
	"fmt"
	"strings"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/cmd/internal/cli"
)

// pressure is one line about what a running beacon has to do.
func pressure(p *admission.Pressure) string {
	if p == nil {
		return ""
	}
	parts := []string{
		fmt.Sprintf("%d of %d connections", p.Connections, p.ConnectionsLimit),
		fmt.Sprintf("%d of %d uploads at once", p.Uploads, p.UploadsLimit),
	}
	if p.Slow > 0 {
		parts = append(parts, fmt.Sprintf("%d slow ones", p.Slow))
	}
	if n := p.WaitingAll(); n > 0 {
		parts = append(parts, fmt.Sprintf("%s told to come back", cli.Count(n, "sender")))
	}
	return strings.Join(parts, ", ")
}

// pressureProblems says which limits senders meet now.
func pressureProblems(p admission.Pressure) (out []string) {
	if p.Disk == admission.DiskLow {
		out = append(out, "logs are refused: the disk is filling up; free some, or see why files wait")
	}
	if p.FilesLimit > 0 && p.Files >= p.FilesLimit {
		out = append(out, fmt.Sprintf("%d files wait, as many as may: see why, or raise limits.spool_files", p.Files))
	}
	if p.Connections >= p.ConnectionsLimit {
		out = append(out, "every connection is taken: new ones are closed; raise limits.connections if these are agents")
	}
	if n := p.WaitingAll(); n > 0 {
		were := "were"
		if n == 1 {
			were = "was"
		}
		out = append(out, fmt.Sprintf("%s (%d inventory, %d usage, %d logs) %s turned away by a limit and told to come back, the last in %v; beacon_admission_refused_total counts by which limit",
			cli.Count(n, "sender"), p.Waiting["inventory"], p.Waiting["usage"], p.Waiting["logs"], were, p.Drained.Round(time.Second)))
	}
	return out
}
