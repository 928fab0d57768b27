package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/catalogue"
)

const reindexLong = `Make the index (catalog.db) anew from the journal, the receipts and kept/. Uploads,
receipts and losses are then exactly what they were. The beacon may run, and takes
uploads meanwhile; lists are incomplete until it is done.

When devices last called is known from the index alone, and stays if the index is
readable.`

func uploadsReindex(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "reindex", Short: "Make the index of uploads anew", Long: reindexLong, Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			counts, err := reindex(cmd, o)
			if err != nil {
				return err
			}
			return o.print(cmd, counts, func() error {
				var n int64
				for _, of := range counts.Uploads {
					n += of
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "indexed: %s; lost: %d, of which %d did not come again; kept: %s\n",
					cli.Count(n, "upload"), counts.Losses, counts.OpenLosses, cli.Count(counts.Kept, "file"))
				return err
			})
		},
	}
}

// reindex asks for it and tells how far it is.
func reindex(cmd *cobra.Command, o *operator) (*catalogue.Counts, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(desk.ReindexUploads.Ask(cmd.Context(), o.data, struct{}{}, w)) }()
	defer r.Close()
	told := progress{w: cmd.ErrOrStderr(), terminal: cli.IsTerminal(cmd.ErrOrStderr()), said: time.Now()}
	defer told.end()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var step desk.ReindexStep
		if err := json.Unmarshal(lines.Bytes(), &step); err != nil {
			return nil, fmt.Errorf("reindex: %w", err)
		}
		if step.Stage == desk.StageDone {
			return step.Counts, nil
		}
		told.say(step, time.Now())
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return nil, errors.New("reindex: the beacon stopped before it was done; it goes on when it starts again")
}

// progress shows one line that changes to a person, and plain ones to a file.
type progress struct {
	w        io.Writer
	terminal bool
	said     time.Time
	any      bool
}

// plainEvery is how often a plain line is written, so that a short one is silent.
const plainEvery = 10 * time.Second

func (p *progress) say(s desk.ReindexStep, now time.Time) {
	text := "kept files"
	if s.Stage == desk.StageEvents {
		text = fmt.Sprintf("%d events", s.Done)
		if s.Of > s.Done {
			text = fmt.Sprintf("%d of %d events", s.Done, s.Of)
		}
	}
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[Kindexing: %s", text)
		p.any = true
	case now.Sub(p.said) >= plainEvery:
		p.said = now
		fmt.Fprintln(p.w, "indexing: "+text)
	}
}

func (p *progress) end() {
	if p.any {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
