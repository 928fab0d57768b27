package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/policy/bundle"
	"inventorybeacon/uploads/durablefile"
)

func policyCommands(o *operator) []*cobra.Command {
	return []*cobra.Command{
		policyCheck(o), policyPack(), policyPublish(o), policyWithdraw(o), policyList(o), policyShow(o), policyHistory(o),
		policyExport(o), policyImport(o),
	}
}

// A checked is the verdict on one bundle.
type checked struct {
	Bundle   string           `json:"bundle"`
	OK       bool             `json:"ok"`
	Mistakes []bundle.Mistake `json:"mistakes"`
	Warnings []string         `json:"warnings"`
}

func policyCheck(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "check BUNDLE", Short: "Say everything that is wrong with a bundle, and publish nothing", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := check(args[0])
			if err != nil {
				return err
			}
			if err := o.print(cmd, c, func() error { return writeCheck(cmd.OutOrStdout(), c) }); err != nil {
				return err
			}
			if !c.OK {
				return cli.ErrSilent
			}
			return nil
		},
	}
}

func check(path string) (checked, error) {
	c := checked{Bundle: path, Mistakes: []bundle.Mistake{}, Warnings: []string{}}
	b, err := bundle.Open(path)
	if ms, ok := errors.AsType[bundle.Mistakes](err); ok {
		c.Mistakes = ms
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer b.Close()
	c.Bundle, c.OK, c.Warnings = b.Name, true, slices.Concat(c.Warnings, b.Warnings, b.Missing)
	return c, nil
}

func writeCheck(w io.Writer, c checked) error {
	if !c.OK {
		_, err := fmt.Fprintln(w, cli.Printable(bundle.Mistakes(c.Mistakes).Error()))
		return err
	}
	warn(w, c.Warnings)
	_, err := fmt.Fprintf(w, "%s is fine\n", cli.Printable(c.Bundle))
	return err
}

func warn(w io.Writer, warnings []string) {
	for _, s := range warnings {
		fmt.Fprintln(w, "warning:", cli.Printable(s))
	}
}

func policyPack() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "pack FOLDER", Short: "Check a bundle's folder and pack it into one file", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := bundle.Open(args[0])
			if err != nil {
				return err
			}
			if err := b.Close(); err != nil {
				return err
			}
			if out == "" {
				out = filepath.Base(filepath.Clean(args[0])) + ".tar.gz"
			}
			if err := createFile(out, func(w io.Writer) error { return bundle.Pack(args[0], w) }); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), out)
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default FOLDER.tar.gz here)")
	return cmd
}

// createFile makes a file that is there whole or not at all, and never replaces one.
func createFile(name string, write func(io.Writer) error) error {
	dir, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	p, err := durablefile.Create(dir, filepath.Base(name), 0o644)
	if err != nil {
		return err
	}
	defer p.Abort()
	if err := write(p); err != nil {
		return err
	}
	if err = p.Commit(); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name another file with -o", name)
	}
	return err
}

// me is the name under which a change is recorded.
func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

func policyPublish(o *operator) *cobra.Command {
	var comment string
	cmd := &cobra.Command{
		Use: "publish BUNDLE", Short: "Publish a bundle: a folder, .zip, .tar.gz or .tar.zst", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			p, err := desk.Publish.Ask(cmd.Context(), o.data, desk.PublishRequest{Path: path, By: me(), Comment: comment})
			return o.published(cmd, p, err)
		},
	}
	cmd.Flags().StringVarP(&comment, "comment", "m", "", "why, for the history")
	return cmd
}

func policyWithdraw(o *operator) *cobra.Command {
	var comment string
	cmd := &cobra.Command{
		Use: "withdraw NAME", Short: "Take a published bundle out of force", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := desk.Withdraw.Ask(cmd.Context(), o.data, desk.WithdrawRequest{Bundle: args[0], By: me(), Comment: comment})
			return o.published(cmd, p, err)
		},
	}
	cmd.Flags().StringVarP(&comment, "comment", "m", "", "why, for the history")
	return cmd
}

func (o *operator) published(cmd *cobra.Command, p desk.Published, err error) error {
	if err != nil {
		return err
	}
	return o.print(cmd, p, func() error {
		warn(cmd.ErrOrStderr(), p.Warnings)
		said := "revision %s is in force\n"
		if !p.Changed {
			said = "nothing changed: revision %s stays in force\n"
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), said, p.Revision)
		return err
	})
}

func policyHistory(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "history", Short: "List the revisions, the newest first", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			revs, err := desk.PolicyHistory.Ask(cmd.Context(), o.data, struct{}{})
			if err != nil {
				return err
			}
			t := cli.Table{Header: []string{"REVISION", "PUBLISHED", "BY", "COMMENT"}, Empty: "nothing was published yet"}
			for _, r := range revs {
				t.Rows = append(t.Rows, []string{r.String(), cli.When(r.Created), dash(r.By), r.Comment})
			}
			return o.print(cmd, revs, func() error { return t.Write(cmd.OutOrStdout()) })
		},
	}
}

func policyExport(o *operator) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export [-o FILE]", Short: "Write the revision in force to a file that another beacon can import", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" || out == "-" {
				return desk.ExportPolicy.Ask(cmd.Context(), o.data, struct{}{}, cmd.OutOrStdout())
			}
			return createFile(out, func(w io.Writer) error { return desk.ExportPolicy.Ask(cmd.Context(), o.data, struct{}{}, w) })
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default stdout)")
	return cmd
}

func policyImport(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Put in force what another beacon exported; this one then follows that publisher", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			p, err := desk.ImportPolicy.Ask(cmd.Context(), o.data, desk.PublishRequest{Path: path, By: me()})
			return o.published(cmd, p, err)
		},
	}
}

func joined(parts ...[]string) string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return strings.Join(all, " ")
}
