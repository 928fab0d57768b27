package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/cmd/internal/cli"
)

// told says how far long work is: on a terminal in one line that changes, else in
// a plain line now and then.
type told struct {
	w        io.Writer
	what     string
	terminal bool
	said     time.Time
	any      bool
}

func newTold(cmd *cobra.Command, what string) *told {
	w := cmd.ErrOrStderr()
	return &told{w: w, what: what, terminal: cli.IsTerminal(w), said: time.Now()}
}

// shownEvery is how often the line on a terminal changes.
const shownEvery = 200 * time.Millisecond

func (t *told) text(s string, now time.Time) {
	every := plainEvery
	if t.terminal {
		every = shownEvery
	}
	if now.Sub(t.said) < every {
		return
	}
	t.said = now
	if t.terminal {
		fmt.Fprintf(t.w, "\r\x1b[K%s: %s", t.what, s)
		t.any = true
		return
	}
	fmt.Fprintf(t.w, "%s: %s\n", t.what, s)
}

func (t *told) end() {
	if t.any {
		fmt.Fprint(t.w, "\r\x1b[K")
		t.any = false
	}
}
