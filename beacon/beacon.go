package beacon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"inventorybeacon/beacon/comeback"
	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/control"
	"inventorybeacon/beacon/dial"
	"inventorybeacon/beacon/signing"
	"inventorybeacon/policy/drop"
	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	contentgate "inventorybeacon/uploads/content/gate"
	"inventorybeacon/uploads/custody/inquiry"
	"inventorybeacon/uploads/durablefile"
	"inventorybeacon/uploads/kept"
	"inventorybeacon/uploads/ledger"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

// Options are what a beacon is made from.
type Options struct {
	// Config is a checked configuration.
	Config *config.Config
	// Log defaults to discarding.
	Log *slog.Logger
	// Calls registers what operators can ask for on the control socket.
	Calls func(*control.Server, *Beacon)
	// Check judges the content of files before they are relayed. It defaults to
	// that of package content, with the limits of the kinds.
	Check func(context.Context, uploads.Upload, uploads.Body) error
	// Ready is told when everything listens and the drop folder exists.
	Ready func(Addresses)
}

// Addresses are the URLs where a beacon listens.
type Addresses struct {
	Agents, AgentsTLS []string
	Admin, Metrics    string // Metrics is empty if it has no address of its own
}

// A State is where a beacon is in its life.
type State string

// The states, in order.
const (
	Starting State = "starting"
	Serving  State = "serving"
	Draining State = "draining"
)

// A Beacon is a server with everything behind it. It owns its data directory.
type Beacon struct {
	o       Options
	config  *config.Config
	name    string // see Name
	log     *slog.Logger
	metrics *Metrics
	guard   *dial.Guard
	started time.Time
	state   atomic.Value // State

	policies   *revision.Store
	drops      *drop.Folder
	spool      *spool.Spool
	catalogue  *catalogue.Catalogue
	quarantine *quarantine.Store
	kept       *kept.Store
	ledger     *ledger.Teller
	reporter   *reporter
	words      *wordReader
	gate       *contentgate.Gate
	relays     []*relay.Relay
	routes     map[string]parentRoute // by destination, where it names several beacons
	proven     *parent.Proven         // once it is needed
	askers     []*inquiry.Asker
	signer     *signing.Key
	room       *room
	agents     *Agents

	fronts       []*front // agents
	admin        []*front
	control      net.Listener
	certificates []*keyPair
	addresses    Addresses
	closers      []func() error // in the order of opening
}

// Open opens everything in the data directory and binds every address, so that
// what cannot work fails here. Nothing is served before Run.
func Open(ctx context.Context, o Options) (*Beacon, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Beacon{o: o, config: o.Config, log: o.Log, metrics: NewMetrics(), started: time.Now()}
	b.state.Store(Starting)
	for _, step := range []func(context.Context) error{
		b.openData, b.openControl, b.openName, b.openSigning, b.openGuard, b.openFronts, b.openPolicies, b.openUploads, b.openRelays, b.openAdmin,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, b.close())
		}
	}
	b.metrics.Register(collector{b})
	return b, nil
}

// Policies is the store of published revisions.
func (b *Beacon) Policies() *revision.Store { return b.policies }

// Spool holds what waits for its relay.
func (b *Beacon) Spool() *spool.Spool { return b.spool }

// Catalogue is the index of what agents told.
func (b *Beacon) Catalogue() *catalogue.Catalogue { return b.catalogue }

// Signer signs the receipts that are asked for.
func (b *Beacon) Signer() *signing.Key { return b.signer }

// Quarantine keeps what destinations refused.
func (b *Beacon) Quarantine() *quarantine.Store { return b.quarantine }

// Relays says how each destination is doing.
func (b *Beacon) Relays() []relay.Status {
	out := make([]relay.Status, len(b.relays))
	for i, r := range b.relays {
		out[i] = r.Status()
	}
	return out
}

// Addresses says where the beacon listens.
func (b *Beacon) Addresses() Addresses { return b.addresses }

// Started is when the beacon was opened.
func (b *Beacon) Started() time.Time { return b.started }

// State says where the beacon is in its life.
func (b *Beacon) State() State { return b.state.Load().(State) }

// Ready says why the beacon should get no new work, or nil.
func (b *Beacon) Ready() error {
	if s := b.State(); s != Serving {
		return errors.New(string(s))
	}
	return b.agents.Trouble()
}

// Full says why uploads are refused for want of room, or nil.
func (b *Beacon) Full() error {
	if err := b.agents.Room(comeback.Inventory, 0); err != nil {
		return err
	}
	return b.agents.Full()
}

// openData makes the directories that are not made by what is kept in them.
func (b *Beacon) openData(context.Context) error {
	for _, dir := range []string{"", config.DropDir, config.KeysDir} {
		if err := durablefile.MkdirAll(b.path(dir), 0o700); err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
	}
	return nil
}

func (b *Beacon) path(name string) string { return filepath.Join(b.config.Data, name) }

func (b *Beacon) openPolicies(context.Context) (err error) {
	b.policies, err = revision.Open(b.path(config.PolicyDir), revision.Options{Log: b.log})
	if err != nil {
		return fmt.Errorf("open policy: %w", err)
	}
	b.closers = append(b.closers, b.policies.Close)
	b.drops, err = drop.Open(b.path(config.DropDir), b.policies, drop.Options{Log: b.log, Settle: b.config.Settle})
	if err != nil {
		return fmt.Errorf("open drop folder: %w", err)
	}
	return nil
}

// openControl takes the socket before anything that an operator's command would
// open itself if it found nobody here: the command then waits for the start.
func (b *Beacon) openControl(context.Context) (err error) {
	b.control, err = control.Listen(b.config.Data)
	if err == nil {
		b.closers = append(b.closers, func() error { return ignoreClosed(b.control.Close()) })
	}
	return err
}

// close undoes what was opened, last first.
func (b *Beacon) close() error {
	var errs []error
	for _, f := range slices.Backward(b.closers) {
		errs = append(errs, f())
	}
	b.closers = nil
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Close gives up a beacon that will not Run.
func (b *Beacon) Close() error { return b.close() }

// Run serves until ctx is done, or something that cannot fail does; then it
// drains, stops everything in the opposite order of its start, and closes. It
// takes at most 10 s for that.
func (b *Beacon) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	back := b.startBackground(ctx, fail)
	serving := make(chan error, 2)
	adminCtx, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAdmin()
	var admin sync.WaitGroup
	admin.Go(func() {
		err := serveFronts(adminCtx, b.admin, instantly)
		if err != nil {
			fail(err)
		}
		serving <- err
	})
	b.state.Store(Serving)
	if b.o.Ready != nil {
		b.o.Ready(b.addresses)
	}
	b.log.Info("serving", "agents", b.addresses.Agents, "agents_tls", b.addresses.AgentsTLS, "admin", b.addresses.Admin)
	serving <- serveFronts(ctx, b.fronts, b.drain)
	back.stop()
	stopAdmin()
	admin.Wait()
	err := errors.Join(<-serving, <-serving, back.err())
	return errors.Join(err, b.close())
}

func (b *Beacon) drain() <-chan struct{} {
	b.state.Store(Draining)
	b.log.Info("draining", "uploads", b.agents.taken())
	return b.agents.Drain()
}

// instantly is the drain of what has nothing to wait for.
func instantly() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
