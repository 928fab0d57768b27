package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/catalogue"
)

//go:embed sample/bundle.yaml
var sampleBundle []byte

// demoDevice is the name the demo's agent goes by: this machine's own.
func demoDevice() string {
	name, err := os.Hostname()
	if err != nil {
		return "this-machine"
	}
	return name
}

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Run a beacon, an agent and a sample bundle in a temporary place; Ctrl-C ends it", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "beacon-demo-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			d := &demo{out: cmd.OutOrStdout(), dir: dir, data: filepath.Join(dir, "beacon")}
			err = d.run(cmd.Context())
			if cmd.Context().Err() != nil {
				return nil // ended by the person, which is how a demo ends
			}
			return err
		},
	}
}

// A demo is one beacon and one agent of this machine, both as programs of
// their own, in a directory that goes when it ends.
type demo struct {
	out    io.Writer
	dir    string
	data   string
	self   string // the beacon program
	agent  string // the agent program
	agents string // where agents connect
}

// demoPatience is how long one step may take before the demo gives up; the slow
// ones are the settling of the dropped bundle and the inventory.
const demoPatience = time.Minute

func (d *demo) run(ctx context.Context) error {
	if err := d.find(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop, err := d.startBeacon(ctx, cancel)
	if err != nil {
		return err
	}
	defer stop()
	for _, step := range []func(context.Context) error{d.publish, d.once, d.relayed} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.next()
	return d.keepAgent(ctx)
}

// errBeaconEnded is why a demo cannot go on.
var errBeaconEnded = errors.New("the beacon ended")

func (d *demo) say(who, format string, args ...any) {
	fmt.Fprintf(d.out, "%-7s %s\n", who, fmt.Sprintf(format, args...))
}

// find looks for the two programs: the agent lies beside this one.
func (d *demo) find() (err error) {
	if d.self, err = os.Executable(); err != nil {
		return err
	}
	d.agent = filepath.Join(filepath.Dir(d.self), "beacon-agent"+filepath.Ext(d.self))
	if _, err := os.Stat(d.agent); err == nil {
		return nil
	}
	if d.agent, err = exec.LookPath("beacon-agent"); err != nil {
		return fmt.Errorf("beacon-agent is neither beside %s nor in the PATH: run `make build` and then bin/beacon demo", d.self)
	}
	return nil
}

// startBeacon starts the beacon and shows the line in which it says where it
// listens. If the beacon ends before it is stopped, ended is called.
func (d *demo) startBeacon(ctx context.Context, ended context.CancelCauseFunc) (stop func(), err error) {
	log, err := os.Create(filepath.Join(d.dir, "beacon.log"))
	if err != nil {
		return nil, err
	}
	cmd := d.command(ctx, d.self, "serve", "--data", d.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		cmd.Wait()
		ended(errBeaconEnded)
	}()
	stop = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-gone
		log.Close()
	}
	if err != nil {
		stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("the beacon did not start: %s", bytes.TrimSpace(text))
	}
	for word := range strings.FieldsSeq(line) {
		if url, ok := strings.CutPrefix(word, "agents="); ok {
			d.agents = url
		}
	}
	d.say("beacon", "%s", strings.TrimSpace(line))
	d.say("", "data in %s, log in %s", d.data, log.Name())
	return stop, nil
}

// tellLog shows the end of the beacon's log, which goes with the directory, if
// it was not the person who ended the demo.
func (d *demo) tellLog(ctx context.Context) {
	text, err := os.ReadFile(filepath.Join(d.dir, "beacon.log"))
	if err != nil || ctx.Err() != nil {
		return
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	d.say("beacon", "logged at last:")
	(&hearsay{w: d.out}).Write(bytes.Join(lines[max(0, len(lines)-10):], nil))
}

// command makes a child that is asked to stop, not killed, when the demo ends.
func (d *demo) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	return cmd
}

// publish drops the sample bundle as an administrator would, and waits until it
// is in force.
func (d *demo) publish(ctx context.Context) error {
	folder := filepath.Join(d.data, "drop", "head-office")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	text := bytes.ReplaceAll(sampleBundle, []byte("BEACON_URL"), []byte(d.agents))
	if err := os.WriteFile(filepath.Join(folder, "bundle.yaml"), text, 0o644); err != nil {
		return err
	}
	d.say("admin", "dropped the bundle head-office into %s", filepath.Dir(folder))
	return d.await(ctx, "the bundle to be published", func() (bool, error) {
		a, err := desk.ShowPolicy.Ask(ctx, d.data, desk.PolicyQuery{})
		if err != nil || a.Revision.IsZero() {
			return false, err
		}
		d.say("beacon", "published it as revision %s", a.Revision)
		return true, nil
	})
}

func (d *demo) await(ctx context.Context, what string, done func() (bool, error)) error {
	patient, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if !backoff.Sleep(patient, 100*time.Millisecond) {
			d.tellLog(ctx)
			return fmt.Errorf("waited %v for %s", demoPatience, what)
		}
	}
}

func (d *demo) agentArgs(verb string) []string {
	return []string{verb, "--beacon", d.agents, "--data", filepath.Join(d.dir, "agent"), "--domain", "DEMO"}
}

// once runs the agent through its whole work and shows what it says.
func (d *demo) once(ctx context.Context) error {
	args := append(d.agentArgs("once"), "--verbose", "--log-format", "text")
	d.say("agent", "beacon-agent %s", strings.Join(args, " "))
	cmd := d.command(ctx, d.agent, args...)
	said := &hearsay{w: d.out}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the agent failed: %w", err)
	}
	return nil
}

// relayed waits until the inventory lies where the centre takes it.
func (d *demo) relayed(ctx context.Context) error {
	return d.await(ctx, "the inventory to be relayed", func() (bool, error) {
		rows, err := desk.ListUploads.Ask(ctx, d.data, catalogue.UploadFilter{Kind: "Inventories", State: catalogue.StateDelivered})
		if err != nil || len(rows) == 0 {
			return false, err
		}
		u := rows[0]
		d.say("beacon", "gave the receipt %s for %s (%s)", u.Receipt, u.Name, cli.Size(u.Bytes))
		d.say("", "and relayed it to %s", filepath.Join(d.data, "relayed", "Incoming", u.Kind)+string(filepath.Separator))
		return true, nil
	})
}

func (d *demo) next() {
	at := " --data " + d.data
	fmt.Fprintf(d.out, "\nWhile this runs, try in another terminal:\n\n")
	for _, c := range []string{"uploads list", "agents list", "policy show", "trace " + demoDevice()} {
		fmt.Fprintf(d.out, "    %s %s%s\n", d.self, c, at)
	}
	fmt.Fprintf(d.out, "    cp README.md %s/note.txt    # any file put there is sent\n", filepath.Join(d.dir, "agent", "outbox", "Logs"))
	fmt.Fprintf(d.out, "\nCtrl-C ends it and removes %s\n", d.dir)
}

// keepAgent leaves the agent running until the demo ends.
func (d *demo) keepAgent(ctx context.Context) error {
	log, err := os.Create(filepath.Join(d.dir, "agent.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := d.command(ctx, d.agent, d.agentArgs("run")...)
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errors.New("the agent ended"), err)
}
