package main

import (
	"bufio"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/beacon/signing"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/durablefile"
)

const importLong = `Take the files of an archive that "beacon uploads export" made on another beacon, as
if that one had sent them: the receipts are the same, what is here already is not
stored again, and the relay takes the rest on. The whole archive is checked first;
a file in it that is damaged, or that this beacon does not take, is left out and told.
An import that was interrupted is repeated.

What is here durably is written to an acknowledgement, FILE.ack. Import that on the
beacon that exported, and the files it names are delivered there, to the destination
given with "export --sink", else to all that they waited for.

Both are taken only with --key FILE, the keys/beacon.pub of the beacon that made
them, or with --any-key: whoever signs an archive says what its files are, and whoever
signs an acknowledgement has files given up. A running beacon reads FILE itself.`

func uploadsImport(o *operator) *cobra.Command {
	var in desk.Import
	var keyFile, ackFile string
	var anyKey bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Take the files of an archive, or its acknowledgement, that came by hand", Long: importLong, Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if (keyFile == "") == !anyKey {
				return cli.Usagef("say who is trusted: --key FILE with the other beacon's keys/beacon.pub, or --any-key")
			}
			if keyFile != "" {
				if in.Key, err = readKey(keyFile); err != nil {
					return err
				}
			}
			if in.Path, err = absolute(args[0]); err != nil {
				return err
			}
			if in.Config, err = absolute(in.Config); err != nil {
				return err
			}
			if ackFile == "" {
				ackFile = args[0] + ".ack"
			}
			done, err := importFrom(cmd, o, in, ackFile)
			if err != nil {
				return err
			}
			if err := o.print(cmd, done, func() error { return writeImported(cmd.OutOrStdout(), done) }); err != nil {
				return err
			}
			if len(done.Refused) > 0 {
				return cli.ErrSilent
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "public key of the beacon that made FILE: its keys/beacon.pub")
	cmd.Flags().BoolVar(&anyKey, "any-key", false, "take it whoever made it")
	cmd.Flags().StringVar(&ackFile, "ack", "", "file for the acknowledgement (default FILE.ack)")
	configFlag(cmd, &in.Config)
	return cmd
}

func readKey(file string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := signing.ParsePublic(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// An imported is what came of an import, with the acknowledgement that was
// written, if one was.
type imported struct {
	desk.Imported
	Ack string `json:"ack,omitempty"`
}

func importFrom(cmd *cobra.Command, o *operator, in desk.Import, ackFile string) (out imported, err error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(desk.ImportUploads.Ask(cmd.Context(), o.data, in, w)) }()
	defer r.Close()
	ack := &ackWriter{name: ackFile}
	defer ack.abort()
	told := newTold(cmd, "importing")
	defer told.end()
	steps := json.NewDecoder(bufio.NewReader(r))
	for {
		var s desk.ImportStep
		if err := steps.Decode(&s); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out, errors.New("the beacon stopped before it was done: import it again")
		} else if err != nil {
			return out, err
		}
		switch s.Stage {
		case desk.ImportAck:
			if err := ack.write(s.Line); err != nil {
				return out, err
			}
			continue
		case desk.ImportRefused:
			told.end()
			fmt.Fprintf(cmd.ErrOrStderr(), "refused: %s: %s/%s: %s\n", s.Refused.Place, cli.Printable(s.Refused.Kind), cli.Printable(s.Refused.Name), cli.Printable(s.Refused.Why))
		case desk.ImportFailed:
			return out, errors.New(s.Error)
		case desk.ImportDone:
			out.Imported = *s.Imported
			if out.New+out.Duplicate == 0 {
				return out, nil
			}
			out.Ack = ackFile
			return out, ack.commit()
		}
		told.text(fmt.Sprintf("%d of %d", s.Done, s.Of), time.Now())
	}
}

// An ackWriter makes the acknowledgement's file once there is something to write,
// in place of an earlier one: it names all that the earlier one did.
type ackWriter struct {
	name string
	dir  *os.Root
	file *durablefile.Pending
	buf  *bufio.Writer
}

func (a *ackWriter) write(line []byte) (err error) {
	if a.file == nil {
		if a.dir, err = os.OpenRoot(filepath.Dir(a.name)); err != nil {
			return fmt.Errorf("acknowledgement: %w: name another file with --ack", err)
		}
		if a.file, err = durablefile.Create(a.dir, filepath.Base(a.name), 0o644); err != nil {
			return fmt.Errorf("acknowledgement: %w: name another file with --ack", err)
		}
		a.buf = bufio.NewWriter(a.file)
	}
	_, err = a.buf.Write(line)
	return err
}

func (a *ackWriter) commit() error {
	if err := a.buf.Flush(); err != nil {
		return err
	}
	return a.file.CommitReplace()
}

func (a *ackWriter) abort() {
	if a.file != nil {
		a.file.Abort()
	}
	if a.dir != nil {
		a.dir.Close()
	}
}

func writeImported(w io.Writer, i imported) error {
	if i.Acknowledgement {
		_, err := fmt.Fprintf(w, "%s has %s: %d delivered by this, %d had left before\n", i.From, cli.Count(i.Files, "file"), i.Delivered, i.Gone)
		return err
	}
	fmt.Fprintf(w, "from %s: %s new (%s), %d here already, %d refused\n", i.From, cli.Count(i.New, "file"), cli.Size(i.NewBytes), i.Duplicate, len(i.Refused))
	if i.Ack == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "acknowledgement: %s: import it on %s with this beacon's keys/beacon.pub\n", i.Ack, i.From)
	return err
}
