package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"inventorybeacon/policy"
	"inventorybeacon/policy/bundle"
	"inventorybeacon/policy/revision"
	"inventorybeacon/policy/wire"
	"inventorybeacon/uploads/catalogue"
)

// A PublishRequest names a bundle on the beacon's own machine.
type PublishRequest struct {
	Path    string `json:"path"` // absolute
	By      string `json:"by"`
	Comment string `json:"comment"`
}

// A WithdrawRequest names a bundle in force.
type WithdrawRequest struct {
	Bundle  string `json:"bundle"`
	By      string `json:"by"`
	Comment string `json:"comment"`
}

// A Published says what a publication, a withdrawal or an import did.
type Published struct {
	Revision policy.Revision `json:"revision"`
	Changed  bool            `json:"changed"` // false: nothing new was in it
	Warnings []string        `json:"warnings"`
}

// A PolicyQuery asks what a device is told; without a device, what is in force.
type PolicyQuery struct {
	Device  string `json:"device"`
	Domain  string `json:"domain"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Address string `json:"address"`
	// Classic asks what an agent of the incumbent is told.
	Classic bool `json:"classic"`
}

// A PolicyAnswer is what is in force, and for a device what applies to it.
type PolicyAnswer struct {
	Revision  policy.Revision   `json:"revision"`
	Mirrors   string            `json:"mirrors,omitempty"` // the publisher followed, if it is another
	Bundles   []policy.Bundle   `json:"bundles"`
	Device    string            `json:"device,omitempty"`
	Domain    string            `json:"domain,omitempty"`
	Effective *policy.Effective `json:"effective,omitempty"` // nil: no bundle applies
}

// The calls about policy.
var (
	Publish       = Call[PublishRequest, Published]{"policy.publish", (*Desk).publish}
	Withdraw      = Call[WithdrawRequest, Published]{"policy.withdraw", (*Desk).withdraw}
	ShowPolicy    = Call[PolicyQuery, PolicyAnswer]{"policy.show", (*Desk).showPolicy}
	PolicyHistory = Call[struct{}, []policy.Revision]{"policy.history", (*Desk).history}
	ExportPolicy  = Stream[struct{}]{"policy.export", (*Desk).exportPolicy}
	ImportPolicy  = Call[PublishRequest, Published]{"policy.import", (*Desk).importPolicy}
)

func (d *Desk) publish(ctx context.Context, in PublishRequest) (out Published, err error) {
	store, err := d.policies()
	if err != nil {
		return out, err
	}
	b, err := bundle.Open(in.Path)
	if err != nil {
		return out, err
	}
	defer b.Close()
	return published(store.Publish(ctx, b, in.By, in.Comment))
}

func (d *Desk) withdraw(ctx context.Context, in WithdrawRequest) (out Published, err error) {
	store, err := d.policies()
	if err != nil {
		return out, err
	}
	return published(store.Withdraw(ctx, in.Bundle, in.By, in.Comment))
}

func (d *Desk) importPolicy(ctx context.Context, in PublishRequest) (out Published, err error) {
	store, err := d.policies()
	if err != nil {
		return out, err
	}
	f, err := os.Open(in.Path)
	if err != nil {
		return out, err
	}
	defer f.Close()
	return published(store.Import(ctx, f))
}

func published(r revision.Result, err error) (Published, error) {
	if err != nil {
		return Published{}, err
	}
	return Published{r.Revision, r.Changed, append([]string{}, r.Warnings...)}, nil
}

func (d *Desk) history(context.Context, struct{}) ([]policy.Revision, error) {
	store, err := d.policies()
	if err != nil {
		return nil, err
	}
	return append([]policy.Revision{}, store.History()...), nil
}

func (d *Desk) exportPolicy(ctx context.Context, _ struct{}, w io.Writer) error {
	store, err := d.policies()
	if err != nil {
		return err
	}
	return store.Export(ctx, w)
}

func (d *Desk) showPolicy(ctx context.Context, in PolicyQuery) (out PolicyAnswer, err error) {
	store, err := d.policies()
	if err != nil {
		return out, err
	}
	now := store.Current()
	out = PolicyAnswer{Revision: now.Revision(), Mirrors: store.Mirrors(), Bundles: append([]policy.Bundle{}, now.Bundles()...)}
	if in.Device == "" {
		return out, nil
	}
	q, err := d.query(ctx, in)
	if err != nil {
		return out, err
	}
	out.Device, out.Domain = q.Device, q.Domain
	e, err := now.Effective(q)
	if errors.Is(err, policy.ErrNone) {
		return out, nil
	}
	if in.Classic {
		e = classic(e, out.Revision)
	}
	out.Effective = &e
	return out, err
}

// classic leaves of e what an agent of the incumbent is told of it; ready-made
// files are served to it beside that.
func classic(e policy.Effective, rev policy.Revision) policy.Effective {
	told, _ := wire.Classic(wire.Schedule{Events: e.Schedule, Created: rev.Created})
	return policy.Effective{Schedule: told.Events, Bundles: e.Bundles}
}

// query fills in what the operator did not say from what the beacon knows of
// the device.
func (d *Desk) query(ctx context.Context, in PolicyQuery) (q policy.Query, err error) {
	domain, device := splitDevice(in.Device)
	if in.Domain != "" {
		domain = in.Domain
	}
	q = policy.Query{Domain: domain, Device: device, Ours: !in.Classic, OS: in.OS, Arch: in.Arch}
	if in.Address != "" {
		if q.Address, err = netip.ParseAddr(in.Address); err != nil {
			return q, fmt.Errorf("address: %w", err)
		}
	}
	known, err := d.oneDevice(ctx, in.Device)
	if err != nil {
		return q, err
	}
	if q.Domain == "" {
		q.Domain = known.Domain
	}
	if !q.Address.IsValid() {
		q.Address, _ = netip.ParseAddr(known.Latest().Address) // unknown stays unknown
	}
	return q, nil
}

// oneDevice returns the only device of that name, or none.
func (d *Desk) oneDevice(ctx context.Context, name string) (catalogue.Device, error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return catalogue.Device{}, err
	}
	found, err := cat.Device(ctx, name)
	if err != nil || len(found) != 1 {
		return catalogue.Device{}, err
	}
	return found[0], nil
}
