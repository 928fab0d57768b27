// Package inventory says what a machine is: its hardware, operating system,
// network and installed packages, as an .ndi document.
//
// Each part of the document is a section, filled by one [Collector]. A
// collector that fails, hangs or panics spoils its own section only, and the
// document says so: a section is ok (perhaps with nothing in it), failed, or
// absent because this machine has no such thing.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// DefaultTimeout bounds a collector that names no timeout of its own. A longer
// one gives a slow disk more chance to answer; a shorter one gets the rest of
// the inventory away sooner when something hangs.
const DefaultTimeout = 15 * time.Second

// DefaultParallel is how many collectors run at once. More finish sooner on a
// machine with nothing else to do; fewer disturb a busy one less, and two that
// hang then hold up the rest.
const DefaultParallel = 4

// An Identity says whose inventory it is.
type Identity struct {
	Name         string // the machine's true name, not escaped
	Domain       string
	User         string // who took it; "system" if empty
	AgentID      string
	AgentVersion string
}

// Options say what to collect, and where.
type Options struct {
	Identity Identity
	// Now is the document's time, written as it reads in its own location.
	Now time.Time
	// Root is the directory under which the machine's files lie; "/" if empty.
	// Under another root, what only the running system knows (addresses, space
	// on volumes) is not made up.
	Root string
	// Collectors fill the document, in this order; nil means [Collectors].
	Collectors []*Collector
	Timeout    time.Duration // of a collector without its own; 0 means [DefaultTimeout]
	Parallel   int           // 0 means [DefaultParallel]
	Log        *slog.Logger  // hears of panics; nil discards
}

// Collect takes an inventory. It fails only if the options are unusable or ctx
// ends first: what goes wrong in a collector is told in its section.
func Collect(ctx context.Context, o Options) (*Document, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("take inventory: %w", err)
	}
	host := newHost(o.Root, o.Identity)
	d := &Document{Identity: o.Identity, Time: o.Now, Sections: make([]Section, len(o.Collectors))}
	var wg sync.WaitGroup
	slots := make(chan struct{}, o.Parallel)
	for i, c := range o.Collectors {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			d.Sections[i] = c.run(ctx, host, o.Timeout, o.Log)
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("take inventory: %w", err)
	}
	return d, nil
}

func (o *Options) complete() error {
	switch {
	case o.Identity.Name == "":
		return errors.New("the machine has no name")
	case o.Now.IsZero():
		return errors.New("no time given")
	}
	if o.Identity.User == "" {
		o.Identity.User = "system"
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Collectors == nil {
		o.Collectors = Collectors()
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Parallel == 0 {
		o.Parallel = DefaultParallel
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
