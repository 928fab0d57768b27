package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/control"
	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
)

const serveLong = `Serve agents until stopped. Flags override the environment (BEACON_…), which overrides
the configuration file, which overrides the defaults.

A listener given by --listen or --listen-tls serves whoever can connect; one in
the configuration file must say so ("access: anonymous"). An HTTPS listener takes
its certificate from the configuration, else from keys/tls.crt and keys/tls.key
in the data directory.

When it serves it prints one line to standard output:
  ready agents=http://127.0.0.1:8080 admin=http://127.0.0.1:8090
SIGTERM drains within 10 s; a second one ends it at once.`

func serveCommand(o *operator) *cobra.Command {
	var file string
	var f config.Flags
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve agents until stopped", Long: serveLong, Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("data") {
				f.Data = o.data
			}
			c, unknown, err := config.Load(config.Sources{File: file, Environ: os.Environ(), Flags: f})
			if err != nil {
				return err
			}
			return serve(cmd, c, unknown)
		},
	}
	cmd.Flags().StringVar(&file, "config", os.Getenv("BEACON_CONFIG"), "configuration file (BEACON_CONFIG)")
	cmd.Flags().StringArrayVar(&f.Listen, "listen", nil, "address where agents connect by HTTP (repeatable; :0 picks a port)")
	cmd.Flags().StringArrayVar(&f.ListenTLS, "listen-tls", nil, "address where agents connect by HTTPS (repeatable)")
	cmd.Flags().StringVar(&f.Admin, "admin", "", "address of health, readiness and metrics")
	cmd.Flags().StringVar(&f.Metrics, "metrics", "", "further address for /metrics alone")
	return cmd
}

func serve(cmd *cobra.Command, c *config.Config, unknown []string) error {
	log := newLog(cmd.ErrOrStderr(), c.Log)
	for _, name := range unknown {
		log.Warn("environment variable means nothing to this program", slog.String("name", name))
	}
	beacon.OvercommitProcessors()
	b, err := beacon.Open(cmd.Context(), beacon.Options{
		Config: c, Log: log,
		Calls: func(s *control.Server, b *beacon.Beacon) {
			desk.New(parts(b, c)).Register(s)
			examined(s, c)
		},
		Ready: func(a beacon.Addresses) { fmt.Fprintln(cmd.OutOrStdout(), readyLine(a)) },
	})
	if err != nil {
		return err
	}
	return b.Run(cmd.Context())
}

func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // config.Load has checked it
	}
	return cli.Log(w, c.Format, level)
}

// readyLine is part of the contract: programs that start a beacon read it.
func readyLine(a beacon.Addresses) string {
	words := []string{"ready"}
	for _, u := range a.Agents {
		words = append(words, "agents="+u)
	}
	for _, u := range a.AgentsTLS {
		words = append(words, "agents_tls="+u)
	}
	words = append(words, "admin="+a.Admin)
	if a.Metrics != "" {
		words = append(words, "metrics="+a.Metrics)
	}
	return strings.Join(words, " ")
}
