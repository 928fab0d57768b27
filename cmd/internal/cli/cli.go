// Package cli is what the two programs' command lines have in common: how they
// end, how errors are told, tables and JSON.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// Version is set when a release is built.
var Version = "unversioned"

// A UsageError is a mistake in how a command was called.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a [UsageError].
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// ErrSilent ends a command with exit code 1 when it has already said why.
var ErrSilent = errors.New("failed")

// Root returns a program's root command in the common manner.
func Root(name, short, long string) *cobra.Command {
	root := &cobra.Command{
		Use: name, Short: short, Long: long, Version: Version,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}} (" + goVersion() + ")\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{err} })
	return root
}

// Group returns a command that only holds others.
func Group(use, short string, children ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	g.AddCommand(children...)
	return g
}

func unknown(cmd *cobra.Command, arg string) error {
	hint := ""
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(arg); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return Usagef("unknown command %q for %q%s", arg, cmd.CommandPath(), hint)
}

// Args turns a cobra argument check into one whose complaint is a [UsageError].
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &UsageError{err}
		}
		return nil
	}
}

// Main runs root and returns the exit code. The first interrupt or SIGTERM ends
// the context, a second one ends the process.
func Main(root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the default action is back: a second signal ends us
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return tell(cmd, err, stderr)
}

// tell writes the one line an error gets, and what to do next; several mistakes
// get a line each.
func tell(cmd *cobra.Command, err error, stderr io.Writer) int {
	if err == nil {
		return ExitOK
	}
	if errors.Is(err, ErrSilent) {
		return ExitFailed
	}
	if usage, ok := errors.AsType[*UsageError](err); ok {
		fmt.Fprintf(stderr, "%s: %s (see %s --help)\n", cmd.Root().Name(), oneLine(usage.Error()), cmd.CommandPath())
		return ExitUsage
	}
	for line := range strings.Lines(strings.TrimSpace(err.Error())) {
		fmt.Fprintf(stderr, "%s: %s\n", cmd.Root().Name(), oneLine(line))
	}
	return ExitFailed
}

func oneLine(s string) string { return strings.Join(strings.Fields(Printable(s)), " ") }

func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return "unknown Go"
}
