package agentside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"inventorybeacon/agentside/pull"
	"inventorybeacon/uploads/backoff"
)

// DefaultOnceTimeout is how long Once waits for everything to arrive.
const DefaultOnceTimeout = 45 * time.Second

// ErrNotArrived means that files are still in the outbox. They are not lost: the
// next run sends them.
var ErrNotArrived = errors.New("not everything arrived")

// An Outcome is what Once did.
type Outcome struct {
	Policy    bool   `json:"policy"`    // a policy is in force
	Revision  string `json:"revision"`  // its revision
	Inventory string `json:"inventory"` // the name under which the inventory was sent
	Receipt   string `json:"receipt"`   // its receipt
	Sent      uint64 `json:"sent"`      // files that arrived, the inventory among them
	// Warning is what the person should know although all went well: that no
	// bundle applies to the device.
	Warning string `json:"warning,omitempty"`
}

// Once pulls the policy, takes an inventory, and waits until a beacon has all
// that is in the outbox or the timeout is over. It returns nil only if everything arrived; the
// policy may be missing if no bundle applies to the device.
func (a *Agent) Once(ctx context.Context, timeout time.Duration) (Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("gave up after %v", timeout))
	defer cancel()
	_, pullErr := a.try(ctx)
	polled := make(chan error, 1)
	go func() { polled <- a.pollAgain(ctx, pullErr) }()

	var out Outcome
	receipt, inventoryErr := a.takeInventory(ctx)
	out.Inventory, out.Receipt = receipt.Name, receipt.ID
	sent, sendErr := a.sendAll(ctx, timeout)
	out.Sent = sent
	if sendErr != nil {
		cancel() // the outcome is known: no use in waiting for a policy
	}
	pullErr = <-polled
	if errors.Is(pullErr, ErrNoPolicy) && pull.Verdict(pullErr) {
		out.Warning = "no bundle applies to this device: it goes by " + a.goesBy()
		pullErr = nil
	}
	if pullErr != nil {
		pullErr = fmt.Errorf("policy: %w", pullErr)
	}
	if p := a.policy(); p != nil {
		out.Policy, out.Revision = true, p.Revision.String()
	}
	_, saveErr := a.saveStatus()
	return out, errors.Join(pullErr, inventoryErr, sendErr, saveErr)
}

func (a *Agent) goesBy() string {
	if a.policy() != nil {
		return "its last policy"
	}
	return "its built-in schedule"
}

// pollAgain repeats a poll that failed, unless the beacons have spoken. It
// returns the last error.
func (a *Agent) pollAgain(ctx context.Context, last error) error {
	if last == nil || pull.Verdict(last) || errors.Is(last, pull.ErrNowhere) {
		return last
	}
	p := pull.Persist{Backoff: pull.FirstContact, Wake: a.wake, Failed: a.noteFailure}
	started := false
	p.Run(ctx, func(ctx context.Context) error { // what it returns is ctx's; the beacons' own words are in last
		if !started {
			started = true
			return last // it counts as the first try
		}
		_, err := a.try(ctx)
		if ctx.Err() == nil || err == nil {
			last = err
		}
		if pull.Verdict(err) {
			return nil
		}
		return err
	})
	return last
}

// Upload sends what lies in the outbox, until a beacon has all of it, ctx is done, or
// nothing has arrived for [DefaultOnceTimeout]. It returns how many files did.
func (a *Agent) Upload(ctx context.Context) (uint64, error) {
	sent, err := a.sendAll(ctx, DefaultOnceTimeout)
	_, saveErr := a.saveStatus()
	return sent, errors.Join(err, saveErr)
}

// look is how often sendAll looks whether all is sent.
const look = 50 * time.Millisecond

// sendAll sends until nothing is left that could be sent, or nothing has
// arrived for as long as patience lasts.
func (a *Agent) sendAll(ctx context.Context, patience time.Duration) (uint64, error) {
	if err := a.ledger.Tell(ctx); err != nil {
		a.log.Warn("losses not told yet", slog.Any("err", err))
	}
	relaying, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.relay.Run(relaying) }()
	err := a.untilSent(ctx, patience)
	stop()
	if relayErr := <-done; relayErr != nil && !errors.Is(relayErr, context.Canceled) && !errors.Is(relayErr, context.DeadlineExceeded) {
		err = errors.Join(err, relayErr)
	}
	return a.arrived(), err
}

func (a *Agent) untilSent(ctx context.Context, patience time.Duration) error {
	arrived, since := a.arrived(), time.Now()
	for {
		_, settling, err := a.outbox.Scan(ctx, time.Now())
		if err != nil && ctx.Err() == nil {
			a.log.Warn("outbox not taken whole", slog.Any("err", err))
		}
		if settling == 0 && err == nil && a.settled() {
			return a.notArrived(nil)
		}
		if now := a.arrived(); now != arrived {
			arrived, since = now, time.Now()
		}
		if time.Since(since) > patience {
			return a.notArrived(fmt.Errorf("nothing arrived for %v", patience))
		}
		if !backoff.Sleep(ctx, look) {
			return a.notArrived(context.Cause(ctx))
		}
	}
}

// settled reports whether nothing is left to send or to ask about now.
func (a *Agent) settled() bool {
	held, sent := a.spool.Stats().Pending, a.relay.Status()
	// What a beacon has need not wait for one that does not answer a question.
	unanswered := a.unsent() == 0 && sent.FailuresInARow > 0
	return held == sent.SetAside+sent.Held || sent.Stopped || unanswered
}

// arrived is how many files this process brought to a beacon, those included
// that are kept until they get further.
func (a *Agent) arrived() uint64 { return a.keeper.Status().Sent }

// notArrived returns nil if a beacon has everything, and otherwise names what is
// left and why.
func (a *Agent) notArrived(why error) error {
	s := a.outboxStatus()
	left := s.Waiting - s.Held + a.outbox.Left()
	if left == 0 {
		return nil
	}
	var reasons []string
	for _, f := range s.Aside {
		reasons = append(reasons, oneLine(fmt.Sprintf("%s/%s: %s", f.Kind, f.File, f.Reason)))
	}
	for _, f := range s.Stuck {
		reasons = append(reasons, oneLine(fmt.Sprintf("outbox/%s: %s", strings.TrimPrefix(f.Kind+"/"+f.File, "/"), f.Reason)))
	}
	if len(reasons) == 0 && s.Error != "" {
		reasons = append(reasons, s.Error)
	}
	if why != nil {
		reasons = append(reasons, why.Error())
	}
	count := fmt.Sprintf("%d files wait", left)
	if left == 1 {
		count = "1 file waits"
	}
	return fmt.Errorf("%w: %s: %s", ErrNotArrived, count, strings.Join(reasons, "; "))
}

// oneLine keeps a file's name from breaking the message it is part of.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "?") }
