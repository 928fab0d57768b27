package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/control"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads"
)

const doctorLong = `Try what the beacon needs: room and the right to write in its data directory, and
each destination of the relay. A bucket is tried with a write, a read, a write
that must not replace, and a delete; a folder with a file that is synced and
removed; a beacon above with a request; a bucket that fleet status is read from
with a listing and a read.

Without --config a beacon that runs on the data directory is asked to try what it
was started with, whatever its file says by now; if none runs there, the
environment and the defaults are tried. With --config that file is tried, which may
be done beside a running beacon.

It exits with 1 if something that is needed does not work.`

func doctorCommand(o *operator) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Try the disk and every destination, and say what to do", Long: doctorLong, Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := examine(cmd, o, file)
			if err != nil {
				return err
			}
			if err := o.print(cmd, d, func() error { return d.write(cmd.OutOrStdout()) }); err != nil {
				return err
			}
			if !d.OK {
				return cli.ErrSilent
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", os.Getenv("BEACON_CONFIG"), "configuration file (BEACON_CONFIG)")
	return cmd
}

// examineCall is the control call by which a running beacon tries what it needs: it
// alone knows the flags and variables it was started with, and has its user's rights.
const examineCall = "doctor"

// examined makes the call available.
func examined(s *control.Server, c *config.Config) {
	control.Handle(s, examineCall, func(ctx context.Context, _ struct{}) (diagnosis, error) {
		d := diagnose(beacon.Examine(ctx, c))
		d.Running = true
		return d, nil
	})
}

// examine tries what the running beacon needs, unless a file is given or none runs.
func examine(cmd *cobra.Command, o *operator, file string) (diagnosis, error) {
	if file == "" {
		d, err := control.Call[struct{}, diagnosis](cmd.Context(), control.NewClient(o.data), examineCall, struct{}{})
		switch {
		case err == nil:
			return d, nil
		case !errors.Is(err, control.ErrNotRunning):
			return diagnosis{}, fmt.Errorf("ask the running beacon what to try: %w: or name its configuration with --config FILE", err)
		}
	}
	var f config.Flags
	if cmd.Flags().Changed("data") {
		f.Data = o.data
	}
	c, _, err := config.Load(config.Sources{File: file, Environ: os.Environ(), Flags: f})
	if err != nil {
		return diagnosis{}, err
	}
	return diagnose(beacon.Examine(cmd.Context(), c)), nil
}

// A diagnosis is everything that was tried.
type diagnosis struct {
	OK       bool      `json:"ok"`
	Running  bool      `json:"running,omitempty"` // the running beacon tried it
	Findings []finding `json:"findings"`
}

// A finding is one thing that was tried: "ok", "failed", or "without" if it
// does not work and the beacon does without.
type finding struct {
	Part   string `json:"part"`
	What   string `json:"what"`
	State  string `json:"state"`
	Error  string `json:"error,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func diagnose(parts []beacon.Examination) diagnosis {
	d := diagnosis{OK: true, Findings: []finding{}}
	for _, p := range parts {
		for _, f := range p.Findings {
			d.Findings = append(d.Findings, found(p.Part, f))
			d.OK = d.OK && (f.Err == nil || f.Optional)
		}
	}
	return d
}

func found(part string, f uploads.Finding) finding {
	out := finding{Part: part, What: f.What, State: "ok", Detail: f.Detail}
	if f.Err != nil {
		out.State, out.Error = "failed", f.Err.Error()
		if f.Optional {
			out.State = "without"
		}
	}
	return out
}

func (d diagnosis) write(w io.Writer) error {
	if d.Running {
		fmt.Fprintln(w, "tried by the running beacon, with what it was started with")
	}
	part := ""
	for _, f := range d.Findings {
		if f.Part != part {
			part = f.Part
			fmt.Fprintln(w, cli.Printable(part))
		}
		fmt.Fprintf(w, "  %-8s %s\n", f.State, cli.Printable(f.What))
		for _, more := range []string{f.Error, f.Detail} {
			if more != "" {
				fmt.Fprintf(w, "           %s\n", cli.Printable(more))
			}
		}
	}
	verdict := "everything that is needed works"
	if !d.OK {
		verdict = "something that is needed does not work"
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}
