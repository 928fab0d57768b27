package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"inventorybeacon/cmd/internal/cli"
)

// A fact is one line of a description.
type fact struct{ name, value string }

// facts are the lines of a description; those without a value are left out.
type facts []fact

func (f facts) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, x := range f {
		if x.value != "" {
			fmt.Fprintf(tw, "%s\t%s\n", x.name, cli.Printable(x.value))
		}
	}
	return tw.Flush()
}
