package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/config"
	"inventorybeacon/cmd/internal/cli"
)

func configCommands(o *operator) []*cobra.Command {
	return []*cobra.Command{configCheck(o)}
}

func configCheck(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Say everything that is wrong with a configuration file", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, _, err := config.Load(config.Sources{File: args[0]})
			found, ok := errors.AsType[config.Mistakes](err)
			if err != nil && !ok {
				return err
			}
			err = o.print(cmd, found, func() error {
				if len(found) > 0 {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), cli.Printable(found.Error()))
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is fine\n", args[0])
				return err
			})
			if err == nil && len(found) > 0 {
				return cli.ErrSilent
			}
			return err
		},
	}
}
