package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/archive"
	"inventorybeacon/uploads/durablefile"
)

const exportLong = `Write files that wait for their relay to an archive, which "beacon uploads import"
takes on another beacon: a way up for a site without a line. It is signed with this
beacon's key; give keys/beacon.pub of the data directory to whoever imports it.

The files stay here, and go on by the relay if there is one: the receipts are the
same, and nothing is stored twice. The import writes an acknowledgement. Import that
here, and the files it names are delivered.

If nothing waits, no FILE is written, which is said and is no failure. With - for
FILE the archive goes to stdout, whether there is a file in it or not.`

func uploadsExport(o *operator) *cobra.Command {
	var in desk.Export
	var most string
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Write files that wait to an archive that is carried to another beacon", Long: exportLong, Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if in.Limit < 0 {
				return cli.Usagef("--limit must not be negative")
			}
			if in.MaxBytes, err = parseSize(most); err != nil {
				return err
			}
			if in.Config, err = absolute(in.Config); err != nil {
				return err
			}
			if args[0] == "-" {
				return desk.ExportUploads.Ask(cmd.Context(), o.data, in, cmd.OutOrStdout())
			}
			a, err := exportTo(cmd, o, in, args[0])
			if err != nil {
				return err
			}
			if a.Manifest.Files == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "no file to export: %s was not written\n", args[0])
			}
			return o.print(cmd, exported{args[0], a.Header.Beacon, a.Manifest.Files, a.Manifest.Bytes}, func() error {
				if a.Manifest.Files == 0 {
					return nil
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %s\n", args[0], cli.Count(a.Manifest.Files, "file"), cli.Size(a.Manifest.Bytes))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&in.Kind, "kind", "", "only of this kind, for example Inventories")
	cmd.Flags().StringVar(&in.Device, "device", "", "only of this device, as NAME or DOMAIN/NAME")
	cmd.Flags().StringVar(&in.Sink, "sink", "", "only what waits for this destination, as `beacon status` names it; the beacon must run")
	cmd.Flags().IntVar(&in.Limit, "limit", 0, "the most files, the oldest first (0: all)")
	cmd.Flags().StringVar(&most, "max-bytes", "", "what the files may add up to, for example 4GiB; those that do not fit are left out")
	configFlag(cmd, &in.Config)
	o.completeCarry(cmd)
	return cmd
}

func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, cli.Usagef("--max-bytes %q is no size such as 500MB or 4GiB", s)
	}
	return int64(n), nil
}

// completeCarry completes kinds, and the destinations of a running beacon.
func (o *operator) completeCarry(cmd *cobra.Command) {
	complete := func(flag string, words func(*cobra.Command) []string) {
		f := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return words(cmd), cobra.ShellCompDirectiveNoFileComp
		}
		if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
			panic(err) // there is no such flag
		}
	}
	complete("kind", func(*cobra.Command) (out []string) {
		for _, k := range uploads.DefaultKinds().All() {
			out = append(out, k.Folder)
		}
		return out
	})
	complete("sink", func(cmd *cobra.Command) (out []string) {
		st, err := desk.GetStatus.Ask(cmd.Context(), o.data, struct{}{})
		if err != nil {
			return nil
		}
		for _, s := range st.Sinks {
			out = append(out, s.Sink)
		}
		return out
	})
}

// configFlag is for what a stopped beacon cannot be asked.
func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", os.Getenv("BEACON_CONFIG"), "configuration file, for a beacon that does not run (BEACON_CONFIG)")
}

func absolute(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	return filepath.Abs(file)
}

type exported struct {
	File   string `json:"file"`
	Beacon string `json:"beacon"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
}

// exportTo makes a file that is there whole or not at all, and reads it again
// before it gets its name. An archive without files is not kept.
func exportTo(cmd *cobra.Command, o *operator, in desk.Export, name string) (*archive.Archive, error) {
	dir, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	base := filepath.Base(name)
	if _, err := dir.Lstat(base); err == nil {
		return nil, fmt.Errorf("%s is there already: name another file", name)
	}
	p, err := durablefile.Create(dir, base, 0o600)
	if err != nil {
		return nil, err
	}
	defer p.Abort()
	told := newTold(cmd, "exporting")
	err = desk.ExportUploads.Ask(cmd.Context(), o.data, in, &watched{w: p, told: told})
	told.end()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("the beacon stopped, or could not read a file, before the archive was complete: its log says which")
	}
	if err != nil {
		return nil, err
	}
	if err := p.Sync(); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	a, err := readAgain(p.Name())
	if err != nil {
		return nil, fmt.Errorf("%s, read again: %w", name, err)
	}
	if a.Manifest.Files == 0 {
		return a, nil
	}
	// Not by a link, which a stick's file system may not have.
	return a, p.CommitReplace()
}

func readAgain(file string) (*archive.Archive, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return archive.Open(f, nil)
}

// watched tells how much was written.
type watched struct {
	w    io.Writer
	told *told
	n    int64
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	w.told.text(cli.Size(w.n), time.Now())
	return n, err
}
