// Package agentside is the agent: it pulls its policy from a beacon, runs what
// the schedule says, takes inventory of the machine it runs on, and sends what
// lies in its outbox. It opens every connection itself and listens on nothing.
//
//	beacon --policy--> pull ------> schedule --> inventory --> outbox --> spool --> relay --> beacon
//	                     \-> failover list, settings    collectors --/
//
// What the agent owns is in its data directory:
//
//	outbox/<Kind>/  files to send; any complete file put there is sent
//	policy/         the last good policy; empty before the first verified one
//	spool/          files on their way, kept until a beacon's receipt for them
//	state/          agent id, last runs, status.json
//	log/            the agent's own log, rotated and sent
package agentside

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"inventorybeacon/failover"
	"inventorybeacon/uploads"
)

// Options are what an agent is told when it starts.
type Options struct {
	// Beacons are base URLs, such as http://host:8080, or URLs that already name
	// a root. They are where the agent looks first, and the last resort of every
	// failover list it is given later.
	Beacons []string
	Data    string // data directory
	Name    string // device name; empty means the host's
	Domain  string // empty means [DefaultDomain]
	CA      string // PEM file of the authorities trusted instead of the system's; may be empty
	Version string // the program's version, as beacons are told
	Log     *slog.Logger
}

// Defaults of options that are not given.
const (
	DefaultData   = "/var/lib/beacon-agent"
	DefaultDomain = "WORKGROUP"
)

// Roots are the paths below a beacon's base URL, the incumbent's defaults.
const (
	downloadRoot = "ManageSoftDL"
	uploadRoot   = "ManageSoftRL"
)

// ErrUsage marks mistakes in the options.
var ErrUsage = errors.New("bad option")

// complete fills in defaults and reports every mistake at once.
func (o Options) complete() (Options, []failover.Location, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Data == "" {
		o.Data = DefaultData
	}
	if o.Domain == "" {
		o.Domain = DefaultDomain
	}
	var errs []error
	if o.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: no device name: %w: give --name", ErrUsage, err))
		}
		o.Name = name
	}
	// One spelling, so that beacons see one device whatever the keyboard composed.
	o.Name, o.Domain = norm.NFC.String(o.Name), norm.NFC.String(o.Domain)
	if strings.ContainsAny(o.Domain, `/\`) || !plain(o.Domain) {
		errs = append(errs, fmt.Errorf("%w: domain %q: it must be one word without slashes", ErrUsage, o.Domain))
	}
	if !plain(o.Name) {
		errs = append(errs, fmt.Errorf("%w: device name %q holds control characters", ErrUsage, o.Name))
	}
	var locations []failover.Location
	for _, b := range o.Beacons {
		l, err := location(b)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: beacon %q: %w", ErrUsage, b, err))
			continue
		}
		if !slices.ContainsFunc(locations, func(have failover.Location) bool { return have.Download == l.Download }) {
			l.Priority = len(locations) + 1
			locations = append(locations, l)
		}
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		errs = append(errs, fmt.Errorf("data directory: %w", err))
	}
	o.Data = data
	return o, locations, errors.Join(errs...)
}

func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' })
}

// location makes a place to ask out of what a person typed.
func location(s string) (failover.Location, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil:
		return failover.Location{}, err
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return failover.Location{}, errors.New("want http://host:port or https://host:port")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return failover.Location{}, errors.New("want an address without user, query and fragment")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	base := *u
	for _, root := range []string{downloadRoot, uploadRoot} {
		if cut := len(u.Path) - len("/"+root); cut >= 0 && strings.EqualFold(u.Path[cut:], "/"+root) {
			base.Path = u.Path[:cut]
		}
	}
	name := base.Host + base.Path
	return failover.Location{Name: name, Download: base.JoinPath(downloadRoot).String(), Upload: base.JoinPath(uploadRoot).String()}, nil
}

// device is who this agent says it is.
func (o Options) device() uploads.Device { return uploads.Device{Domain: o.Domain, Name: o.Name} }
