package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads"
)

const doctorLong = `Try what the beacon needs: room and the right to write in its data directory, and
each destination of the relay. A bucket is tried with a write, a read, a write
that must not replace, and a delete; a folder with a file that is synced and
removed; a beacon above with a request; a bucket that fleet status is read from
with a listing and a read. It may run beside a running beacon.

It exits with 1 if something that is needed does not work.`

func doctorCommand(o *operator) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Try the disk and every destination, and say what to do", Long: doctorLong, Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var f config.Flags
			if cmd.Flags().Changed("data") {
				f.Data = o.data
			}
			c, _, err := config.Load(config.Sources{File: file, Environ: os.Environ(), Flags: f})
			if err != nil {
				return err
			}
			d := diagnose(beacon.Examine(cmd.Context(), c))
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

// A diagnosis is everything that was tried.
type diagnosis struct {
	OK       bool      `json:"ok"`
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
