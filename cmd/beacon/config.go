package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/config"
	"inventorybeacon/cmd/internal/cli"
)

func configCommands(o *operator) []*cobra.Command {
	return []*cobra.Command{configCheck(o)}
}

// A configVerdict is the verdict on one configuration file.
type configVerdict struct {
	File     string          `json:"file"`
	OK       bool            `json:"ok"`
	Mistakes config.Mistakes `json:"mistakes"`
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
			v := configVerdict{File: args[0], OK: len(found) == 0, Mistakes: append(config.Mistakes{}, found...)}
			if err := o.print(cmd, v, func() error { return v.write(cmd.OutOrStdout()) }); err != nil {
				return err
			}
			if !v.OK {
				return cli.ErrSilent
			}
			return nil
		},
	}
}

func (v configVerdict) write(w io.Writer) error {
	text := v.File + " is fine"
	if !v.OK {
		text = v.Mistakes.Error()
	}
	_, err := fmt.Fprintln(w, cli.Printable(text))
	return err
}
