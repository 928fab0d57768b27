// Package network notices that the machine's network came back or changed, or
// that the machine woke up, so that who waits for a beacon tries at once.
package network

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"inventorybeacon/uploads/backoff"
)

const (
	// interval is how often is looked. A shorter one notices sooner; a longer one
	// costs an idle machine fewer wake-ups.
	interval = 30 * time.Second
	// jump is by how much the wall clock must run ahead of the timers to count as
	// a sleep.
	jump = time.Minute
)

// Watch calls changed with the reason, until ctx is done.
func Watch(ctx context.Context, changed func(why string)) error {
	return watch(ctx, addresses, changed)
}

func watch(ctx context.Context, look func() string, changed func(why string)) error {
	seen, at := look(), time.Now()
	for backoff.Sleep(ctx, interval) {
		now := time.Now()
		if slept := now.Round(0).Sub(at.Round(0)) - now.Sub(at); slept > jump {
			changed("the machine was asleep")
		}
		at = now
		is := look()
		if is != seen && is != "" {
			changed("the addresses changed")
		}
		seen = is
	}
	return ctx.Err()
}

// addresses describes the addresses that lead off this machine; empty if there
// are none.
func addresses() string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "" // as good as none
	}
	var out []string
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			out = append(out, n.String())
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
