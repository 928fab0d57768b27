package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// ErrAbsent is what a collector returns, wrapped or not, where the machine has
// nothing of its sort: no rpm database, no firmware tables.
var ErrAbsent = errors.New("not on this machine")

// A Collector fills one section.
type Collector struct {
	// Section is the section's name, for example "packages.dpkg".
	Section string
	// Timeout bounds Collect; 0 means the inventory's.
	Timeout time.Duration
	// Collect looks at the machine. What it found before an error is kept in
	// the section, which is then marked failed. It may ignore ctx: it is then
	// left behind when its time is up, and what it returns later is dropped.
	Collect func(ctx context.Context, host Host) (Findings, error)

	// stuck counts runs that were left behind and still go on, so that a device
	// that hangs for ever costs one goroutine and not one per inventory.
	stuck atomic.Int32
}

// Findings are what a collector found.
type Findings struct {
	Hardware []Hardware
	Packages []Package
}

// collectors are shared by all inventories of the process, since what hangs
// hangs for the whole process.
var collectors = []*Collector{
	{Section: "identity", Collect: collectIdentity},
	{Section: "system", Collect: collectSystem},
	{Section: "os", Collect: collectOS},
	{Section: "firmware", Collect: collectFirmware},
	{Section: "processors", Collect: collectProcessors},
	{Section: "memory", Collect: collectMemory},
	{Section: "disks.drives", Collect: collectDrives},
	{Section: "disks.volumes", Collect: collectVolumes},
	{Section: "network.adapters", Collect: collectAdapters},
	{Section: "network.resolver", Collect: collectResolver},
	{Section: "packages.dpkg", Timeout: packagesTimeout, Collect: collectDpkg},
	{Section: "packages.rpm", Timeout: packagesTimeout, Collect: collectRPM},
}

// packagesTimeout leaves a slow machine time for thousands of packages, and an
// agent that has 45 s in all some to send the rest.
const packagesTimeout = 30 * time.Second

// Collectors returns what an inventory consists of, in the document's order.
func Collectors() []*Collector { return append([]*Collector(nil), collectors...) }

type outcome struct {
	found Findings
	err   error
}

// run fills the section, whatever Collect does, in little more than its timeout.
func (c *Collector) run(ctx context.Context, host Host, timeout time.Duration, log *slog.Logger) Section {
	if c.stuck.Load() > 0 {
		return newSection(c.Section, outcome{err: errors.New("still hanging since an earlier inventory")})
	}
	timeout = cmp.Or(c.Timeout, timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()

	done := make(chan outcome, 1)
	go c.collect(ctx, host, log, done)
	select {
	case out := <-done:
		return newSection(c.Section, out)
	case <-ctx.Done():
	}
	c.stuck.Add(1)
	go func() {
		<-done
		c.stuck.Add(-1)
	}()
	return newSection(c.Section, outcome{err: context.Cause(ctx)})
}

// collect answers on done exactly once: also when Collect panics, or ends its
// goroutine.
func (c *Collector) collect(ctx context.Context, host Host, log *slog.Logger, done chan<- outcome) {
	out := outcome{err: errors.New("the collector ended without an answer")}
	defer func() {
		if r := recover(); r != nil {
			log.Error("inventory collector panicked", "section", c.Section, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			out = outcome{err: fmt.Errorf("panic: %v", r)}
		}
		done <- out
	}()
	out.found, out.err = c.Collect(ctx, host)
}
