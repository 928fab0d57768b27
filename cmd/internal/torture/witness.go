//go:build linux

package main

import (
	"context"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/stall"
)

// witness asks the hub, of each object that the store took, for its receipt,
// until it says that the store has the file. From then on the hub knows, whatever
// happens to it, and must not send the file again.
func (s *site) witness(ctx context.Context) {
	client := &parent.Client{Limits: stall.Limits{Idle: 5 * time.Second, Answer: 5 * time.Second}}
	var waiting []string
	for ctx.Err() == nil {
		waiting = append(waiting, s.store.takeStored()...)
		waiting = slices.DeleteFunc(waiting, func(key string) bool {
			u, known := s.ledger.stored(key)
			return known && s.knows(ctx, client, u) && s.settle(key)
		})
		backoff.Sleep(ctx, 50*time.Millisecond)
	}
}

func (s *site) settle(key string) bool {
	s.ledger.settle(key, time.Now())
	return true
}

// knows reports whether the hub says that the store has the file. It is asked
// past the line, which may be bad.
func (s *site) knows(ctx context.Context, client *parent.Client, u uploads.Upload) bool {
	r, err := client.Receipt(ctx, parent.Location{Name: "hub", Root: s.hub.direct()}, u)
	return err == nil && slices.ContainsFunc(r.Custody, func(c uploads.Custody) bool { return c.Level == uploads.LevelStore })
}
