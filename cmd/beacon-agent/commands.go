package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/agentside"
	"inventorybeacon/cmd/internal/cli"
)

// usage turns mistakes in the options into mistakes of the caller.
func usage(err error) error {
	if errors.Is(err, agentside.ErrUsage) {
		return &cli.UsageError{Err: err}
	}
	return err
}

// with runs work on an open agent and closes it.
func (p *person) with(work func(*cobra.Command, *agentside.Agent) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		a, err := p.open(cmd)
		if err != nil {
			return err
		}
		return errors.Join(work(cmd, a), a.Close())
	}
}

// print writes v as JSON if that was asked for, else the text.
func (p *person) print(cmd *cobra.Command, v any, format string, args ...any) error {
	if p.json {
		return cli.JSON(cmd.OutOrStdout(), v)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), cli.Printable(fmt.Sprintf(format, args...)))
	return err
}

func (p *person) run() *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run until stopped, as the schedule says", Args: cli.Args(cobra.NoArgs),
		RunE: p.with(func(cmd *cobra.Command, a *agentside.Agent) error { return a.Run(cmd.Context()) }),
	}
}

func (p *person) once() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "once", Short: "Pull policy, send an inventory and what else waits, then exit", Args: cli.Args(cobra.NoArgs),
		Long: `Pull policy, take and send an inventory, and wait until a beacon has everything.
Exits with 0 only if everything arrived. If no bundle applies to this device it
says so, sends its inventory all the same and exits with 0.

A file that the policy wants to be further up before it is forgotten (setting
ForgetAt) stays in the outbox meanwhile; later runs ask how far it got.`,
		RunE: p.with(func(cmd *cobra.Command, a *agentside.Agent) error {
			out, err := a.Once(cmd.Context(), timeout)
			if out.Warning != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "beacon-agent: warning:", cli.Printable(out.Warning))
			}
			if err != nil {
				return err
			}
			return p.print(cmd, out, "%s; sent %s; the receipt for %q is %s", inForce(out.Policy, out.Revision), cli.Count(out.Sent, "file"), out.Inventory, out.Receipt)
		}),
	}
	cmd.Flags().DurationVar(&timeout, "timeout", agentside.DefaultOnceTimeout, "how long to wait in all")
	return cmd
}

func inForce(policy bool, revision string) string {
	if !policy {
		return "no policy"
	}
	return "policy revision " + revision
}

func (p *person) pull() *cobra.Command {
	return &cobra.Command{
		Use: "pull", Short: "Ask for the policy once", Args: cli.Args(cobra.NoArgs),
		RunE: p.with(func(cmd *cobra.Command, a *agentside.Agent) error {
			st, changed, err := a.Pull(cmd.Context())
			if errors.Is(err, agentside.ErrNoPolicy) {
				fmt.Fprintln(cmd.ErrOrStderr(), "beacon-agent: warning: no bundle applies to this device")
				err = nil
			}
			if err != nil {
				return err
			}
			news := "nothing new"
			if changed {
				news = "new"
			}
			return p.print(cmd, st.Policy, "%s, %s", inForce(st.Policy.Held, st.Policy.Revision), news)
		}),
	}
}

func (p *person) upload() *cobra.Command {
	return &cobra.Command{
		Use: "upload", Short: "Send what lies in the outbox, then exit", Args: cli.Args(cobra.NoArgs),
		RunE: p.with(func(cmd *cobra.Command, a *agentside.Agent) error {
			sent, err := a.Upload(cmd.Context())
			if err != nil {
				return err
			}
			return p.print(cmd, map[string]uint64{"sent": sent}, "sent %s", cli.Count(sent, "file"))
		}),
	}
}

func (p *person) inventory() *cobra.Command {
	return &cobra.Command{
		Use: "inventory", Short: "Take an inventory and print it; send nothing", Args: cli.Args(cobra.NoArgs),
		Long: "Take an inventory of this machine and print it as an .ndi document, or with --json a summary. Nothing is sent and no data directory is needed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.json {
				sum, err := agentside.InventorySummary(cmd.Context(), p.logged(cmd))
				if err != nil {
					return usage(err)
				}
				return cli.JSON(cmd.OutOrStdout(), sum)
			}
			return usage(agentside.Inventory(cmd.Context(), p.logged(cmd), cmd.OutOrStdout()))
		},
	}
}
