// Command beacon-agent is the agent: it pulls policy from a beacon, takes
// inventory and sends what lies in its outbox. It listens on nothing.
package main

import (
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"inventorybeacon/agentside"
	"inventorybeacon/cmd/internal/cli"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	return cli.Main(root(), args, os.Stdin, os.Stdout, os.Stderr)
}

const long = `beacon-agent reports on the machine it runs on. It needs the address of one beacon,
gets its policy from there and goes on by that: when to take inventory, when to
send, which other beacons there are. Every connection is opened by the agent.

Any complete file put into <data>/outbox/<Kind>/ is sent too.

Each flag can also be given as an environment variable: BEACON_AGENT_BEACON
(several, separated by spaces), BEACON_AGENT_DATA, BEACON_AGENT_NAME,
BEACON_AGENT_DOMAIN, BEACON_AGENT_CA, BEACON_AGENT_LOG_FORMAT.`

// A person is whoever calls a command, with what all commands can be told.
type person struct {
	options   agentside.Options
	json      bool
	quiet     bool
	verbose   bool
	logFormat string
}

func root() *cobra.Command {
	p := &person{options: agentside.Options{Version: cli.Version}}
	o := &p.options
	root := cli.Root("beacon-agent", "Inventory agent: reports on this machine to a beacon", long)
	f := root.PersistentFlags()
	f.StringArrayVar(&o.Beacons, "beacon", strings.Fields(os.Getenv("BEACON_AGENT_BEACON")), "URL of a beacon, for example https://beacon.example.com (repeatable)")
	f.StringVar(&o.Data, "data", env("DATA", agentside.DefaultData), "data directory")
	f.StringVar(&o.Name, "name", env("NAME", ""), "name of this device (default the host's name)")
	f.StringVar(&o.Domain, "domain", env("DOMAIN", agentside.DefaultDomain), "domain of this device")
	f.StringVar(&o.CA, "ca", env("CA", ""), "PEM file with the authorities to trust instead of the system's")
	f.BoolVar(&p.json, "json", false, "print one JSON document instead of text")
	f.BoolVarP(&p.quiet, "quiet", "q", false, "log only what a person must act on")
	f.BoolVarP(&p.verbose, "verbose", "v", false, "log every document that is fetched, and what else helps to find a fault")
	f.StringVar(&p.logFormat, "log-format", env("LOG_FORMAT", ""), "text or json (default text on a terminal, else json)")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return p.check() }
	root.AddCommand(p.run(), p.once(), p.pull(), p.upload(), p.inventory(), p.status())
	return root
}

func env(key, otherwise string) string {
	if v := os.Getenv("BEACON_AGENT_" + key); v != "" {
		return v
	}
	return otherwise
}

// open makes the agent ready to speak to beacons.
func (p *person) open(cmd *cobra.Command) (*agentside.Agent, error) {
	if len(p.options.Beacons) == 0 {
		return nil, cli.Usagef("no beacon: give at least one --beacon URL")
	}
	a, err := agentside.Open(p.logged(cmd), "beacon-agent "+cmd.Name())
	return a, usage(err)
}

// check complains of flags that do not go together.
func (p *person) check() error {
	switch {
	case p.quiet && p.verbose:
		return cli.Usagef("--quiet and --verbose: give one or the other")
	case p.logFormat != "" && p.logFormat != "text" && p.logFormat != "json":
		return cli.Usagef("log format %q: want text or json", p.logFormat)
	}
	return nil
}

func (p *person) logged(cmd *cobra.Command) agentside.Options {
	level := slog.LevelInfo
	switch {
	case p.quiet:
		level = slog.LevelError
	case p.verbose:
		level = slog.LevelDebug
	}
	o := p.options
	o.Log = cli.Log(cmd.ErrOrStderr(), p.logFormat, level)
	return o
}
