package beacon

import (
	"context"
	"errors"
	"slices"
	"sync"

	"inventorybeacon/beacon/control"
)

// A background is the loops beside serving. Each stage is stopped, and waited
// for, before the ones started earlier.
type background struct {
	stages []stage
	mu     sync.Mutex
	errs   []error
}

type stage struct {
	cancel context.CancelFunc
	done   *sync.WaitGroup
}

// startBackground starts the catalogue, which listens to all others, then the
// relays, then what lets work in. A loop that ends by itself stops the beacon.
func (b *Beacon) startBackground(ctx context.Context, fail context.CancelCauseFunc) *background {
	back := &background{}
	back.start(ctx, fail, func(ctx context.Context) error { return b.catalogue.Run(ctx, b.spool) })
	back.start(ctx, fail, b.gate.Run, b.tidyQuarantine, b.runKept, b.tellLosses, b.words.Run)
	var relays []func(context.Context) error
	for _, r := range b.relays {
		relays = append(relays, r.Run)
	}
	for _, r := range b.routes {
		relays = append(relays, r.Run)
	}
	for _, a := range b.askers {
		relays = append(relays, a.Run)
	}
	if store := b.agents.Resumption.Store; store != nil {
		relays = append(relays, store.Run)
	}
	back.start(ctx, fail, relays...)
	calls := control.NewServer(b.log)
	if b.o.Calls != nil {
		b.o.Calls(calls, b)
	}
	back.start(ctx, fail, b.saveMemory, b.reporter.Run, b.drops.Run, func(ctx context.Context) error { return calls.Serve(ctx, b.control) })
	return back
}

func (k *background) start(ctx context.Context, fail context.CancelCauseFunc, loops ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := stage{cancel, &sync.WaitGroup{}}
	for _, loop := range loops {
		s.done.Go(func() {
			err := loop(ctx)
			if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
				return
			}
			if err == nil {
				err = errors.New("a loop ended by itself")
			}
			k.mu.Lock()
			k.errs = append(k.errs, err)
			k.mu.Unlock()
			fail(err)
		})
	}
	k.stages = append(k.stages, s)
}

func (k *background) stop() {
	for _, s := range slices.Backward(k.stages) {
		s.cancel()
		s.done.Wait()
	}
}

func (k *background) err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return errors.Join(k.errs...)
}
