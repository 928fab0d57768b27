package agentside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"inventorybeacon/agentside/custody"
	"inventorybeacon/agentside/datadir"
	"inventorybeacon/agentside/logship"
	"inventorybeacon/agentside/outbox"
	"inventorybeacon/agentside/pull"
	"inventorybeacon/agentside/route"
	"inventorybeacon/agentside/transport"
	"inventorybeacon/failover"
	"inventorybeacon/failover/probe"
	"inventorybeacon/policy"
	"inventorybeacon/schedule"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/contact"
	"inventorybeacon/uploads/ledger"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

// Bounds of the outbox's spool. Larger ones outlast longer outages; smaller ones
// leave the disk to the machine's own work.
const (
	spoolBytes   = 512 << 20
	spoolAge     = 30 * 24 * time.Hour
	segmentBytes = 1 << 20
	// memoryBudget bounds the bodies being spooled; larger ones go through a file.
	memoryBudget = 4 << 20
)

// sinkName is what the spool calls the beacons, as one destination.
const sinkName = "beacon"

// An Agent owns its data directory until Close. Of Run, Once and Upload one may
// be called, once; Pull may be called instead.
type Agent struct {
	o       Options
	dir     *datadir.Dir
	id      string
	log     *slog.Logger
	logFile *logship.Log

	http   *http.Client
	client *pull.Client
	store  *pull.Store
	route  *route.Route
	spool  *spool.Spool
	outbox *outbox.Outbox
	keeper *custody.Keeper
	ledger *ledger.Teller
	relay  *relay.Relay

	wake    chan struct{} // ends a wait for a beacon
	dirty   chan struct{} // the status has something new
	polling sync.Mutex    // one poll at a time

	mu     sync.Mutex
	held   *pull.Policy   // nil: no policy yet
	events []event        // of the schedule in force
	loop   *schedule.Loop // nil unless running
	poll   pollStatus
	runs   map[string]runStatus // by event id
}

// Open makes an agent ready. Command names the process for whoever finds the
// data directory in use, for example "beacon-agent run".
func Open(o Options, command string) (*Agent, error) {
	o, bootstrap, err := o.complete()
	if err != nil {
		return nil, err
	}
	dir, err := datadir.Open(o.Data, command)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		o: o, dir: dir, runs: map[string]runStatus{}, wake: make(chan struct{}, 1), dirty: make(chan struct{}, 1),
		logFile: logship.Open(dir.Join(datadir.Log)),
	}
	a.log = slog.New(slog.NewMultiHandler(o.Log.Handler(), slog.NewJSONHandler(a.logFile, nil)))
	// In this order: each needs what the ones before it made.
	for _, open := range []func() error{func() error { return a.openNetwork(bootstrap) }, a.openPolicy, a.openOutbox} {
		if err := open(); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return a, nil
}

// openNetwork makes what the agent speaks with. It connects nowhere.
func (a *Agent) openNetwork(bootstrap []failover.Location) (err error) {
	if a.id, err = a.dir.AgentID(); err != nil {
		return err
	}
	trust, err := transport.TLS(a.o.CA)
	if err != nil {
		return err
	}
	a.route = route.New(route.Options{
		Device: a.o.device(), DNSDomain: dnsDomain(), Bootstrap: bootstrap,
		Prober: &probe.Prober{TLS: trust}, Changed: a.changed, Log: a.log,
	})
	a.http, err = transport.New(transport.Options{CA: a.o.CA, Header: a.headers, Proxy: a.route.Proxy})
	if err != nil {
		return err
	}
	a.client = &pull.Client{HTTP: a.http, Device: a.o.device(), OS: runtime.GOOS, Arch: runtime.GOARCH, Log: a.log}
	return nil
}

// dnsDomain is what follows the first dot of the host's name, if it has one.
func dnsDomain() string {
	host, err := os.Hostname()
	if err != nil {
		return "" // the selector then has nothing to compare
	}
	_, domain, _ := strings.Cut(host, ".")
	return domain
}

// openPolicy puts the last good policy in force. One that the disk did not keep
// is fetched again like a first one.
func (a *Agent) openPolicy() error {
	var err error
	if a.store, err = pull.OpenStore(a.dir.Join(datadir.Policy)); err != nil {
		return err
	}
	held, err := a.store.Load()
	if errors.Is(err, policy.ErrTooNew) {
		return err
	}
	if err != nil {
		a.log.Error("the stored policy is damaged and will be fetched anew", slog.Any("err", err))
	}
	a.install(held)
	return nil
}

func (a *Agent) openOutbox() error {
	var err error
	self := "agent:" + a.id
	a.spool, err = spool.Open(a.dir.Join(datadir.Spool), spool.Options{
		SegmentBytes: segmentBytes, Spares: -1, MemoryBudget: memoryBudget, Beacon: self,
		Sinks:    []spool.SinkName{{Name: sinkName, Required: true}},
		MaxBytes: spoolBytes, MaxAge: spoolAge, GiveUp: giveUp, Observe: a.observe, Log: a.log,
	})
	if err != nil {
		return fmt.Errorf("open the outbox's spool: %w", err)
	}
	for _, lost := range a.spool.Recovery().Lost {
		a.observe(lost)
	}
	beacons := &parent.Sink{Client: &parent.Client{HTTP: a.http, Resume: &parent.Resuming{Log: a.log}}, Locations: route.Uploads{Route: a.route}, Level: uploads.LevelBeacon}
	a.keeper = custody.New(custody.Options{
		Sink: beacons, Teller: beacons, Spool: a.spool, Name: sinkName, Self: self, Log: a.log,
	})
	if err := a.require(a.policy()); err != nil {
		return err
	}
	a.ledger, err = ledger.New(ledger.Options{
		Spool: a.spool, File: a.dir.Join(datadir.State, "ledger.json"), Identity: self,
		Sender: a.o.Name, Device: a.o.device(), AgentID: a.id, Log: a.log,
	})
	if err != nil {
		return err
	}
	room := custody.Room{Spool: a.spool, Keeper: a.keeper, MaxBytes: spoolBytes}
	a.outbox, err = outbox.Open(a.dir.Join(datadir.Outbox), room, outbox.Options{Device: a.o.device(), AgentID: a.id, Log: a.log})
	if err != nil {
		return err
	}
	a.relay = relay.New(relay.Options{Name: sinkName, Queue: a.spool, Workers: 2, Log: a.log, Sink: &sink{Sink: a.keeper, told: a.touch}})
	return nil
}

// giveUp ranks what to part with first when room or time runs out: logs, then
// inventories that a newer one replaces; the newest inventory and usage, which
// cannot be taken again, go last.
func giveUp(u uploads.Upload, newest bool) int {
	switch {
	case u.Kind == "Logs", u.Kind == "SecurityLogs":
		return 0
	case u.Kind == "Inventories" && !newest:
		return 1
	case u.Kind == "Inventories":
		return 3
	case u.Kind == "UsageData":
		return 4
	}
	return 2
}

// observe writes down every file that is given up: the spool's ledger has it
// too, and the log is where a person looks.
func (a *Agent) observe(e spool.Event) {
	if e.What == spool.Lost {
		a.log.Error("upload given up", slog.String("reason", e.Reason), slog.String("detail", e.Detail),
			slog.String("kind", e.Upload.Kind), slog.String("name", e.Upload.Name.String()),
			slog.String("sha256", e.Upload.Digest.String()), slog.Time("received", e.Upload.Received))
	}
	if a.keeper != nil { // else the spool is being opened
		a.keeper.Observe(e)
	}
	if a.ledger != nil {
		a.ledger.Observe(e)
	}
	a.touch()
}

// Close gives up the data directory. The agent must not be running.
func (a *Agent) Close() error {
	var errs []error
	if a.outbox != nil {
		errs = append(errs, a.outbox.Close())
	}
	if a.spool != nil {
		errs = append(errs, a.spool.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.http != nil {
		a.http.CloseIdleConnections()
	}
	return errors.Join(append(errs, a.logFile.Close(), a.dir.Close())...)
}

// changed is called when another beacon or policy came into use: files that the
// old one refused may be taken now.
func (a *Agent) changed() {
	if a.relay != nil {
		a.relay.Reoffer()
	}
	a.touch()
}

// touch says that the status has something new.
func (a *Agent) touch() { token(a.dirty) }

// Wake makes whoever waits for a beacon try at once: the network changed, the
// machine woke up.
func (a *Agent) Wake() { token(a.wake) }

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// headers tells a beacon, with every request, who asks and how it is doing.
func (a *Agent) headers() http.Header {
	c := contact.Contact{
		ID: a.id, Domain: a.o.Domain, Name: a.o.Name, Version: a.o.Version,
		Spool: contact.SpoolUnknown, Clock: time.Now(),
	}
	if a.spool != nil {
		c.Spool = int64(a.unsent())
	}
	a.mu.Lock()
	if a.held != nil {
		c.Revision, c.Digest = a.held.Revision.Number, a.held.Digest.String()
	}
	c.Error = a.poll.err
	a.mu.Unlock()
	value, err := contact.Format(c)
	if err != nil {
		a.log.Debug("header not sent", slog.Any("err", err))
		return nil
	}
	return http.Header{contact.Header: {value}}
}

// sink marks files that are sent late, and tells when one was sent.
type sink struct {
	uploads.Sink
	told func()
}

// lateAfter is from when on a file counts as recovered: it was not sent by the
// run that made it but by a later one. A shorter one marks files that a busy
// beacon put off; a longer one hides short outages.
const lateAfter = time.Hour

// Deliver implements [uploads.Sink].
func (s *sink) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	for i := range parcels {
		parcels[i].Recovered = parcels[i].Recovered || time.Since(parcels[i].Received) > lateAfter
	}
	defer s.told()
	return s.Sink.Deliver(ctx, parcels)
}
