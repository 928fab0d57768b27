package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// program is a small one with a command of each outcome.
func program() *cobra.Command {
	root := Root("prog", "a program", "")
	does := func(use string, err error) *cobra.Command {
		return &cobra.Command{Use: use, Args: Args(cobra.NoArgs), RunE: func(*cobra.Command, []string) error { return err }}
	}
	root.AddCommand(does("fine", nil), does("fail", errors.New("disk\nbroke")), does("quiet", ErrSilent),
		does("wrong", Usagef("give a name")), Group("group", "more", does("list", nil)))
	return root
}

func TestMainTellsOutcomes(t *testing.T) {
	for _, tt := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"fine", ExitOK, ""},
		{"fail", ExitFailed, "prog: disk\nprog: broke\n"},
		{"quiet", ExitFailed, ""},
		{"wrong", ExitUsage, "prog: give a name (see prog wrong --help)\n"},
		{"fine extra", ExitUsage, "prog: unknown command \"extra\" for \"prog fine\" (see prog fine --help)\n"},
		{"--nope", ExitUsage, "prog: unknown flag: --nope (see prog --help)\n"},
		{"fien", ExitUsage, "prog: unknown command \"fien\" for \"prog\"; did you mean \"fine\"? (see prog --help)\n"},
		{"group lits", ExitUsage, "prog: unknown command \"lits\" for \"prog group\"; did you mean \"list\"? (see prog group --help)\n"},
		{"group list", ExitOK, ""},
	} {
		var out, errs bytes.Buffer
		code := Main(program(), strings.Fields(tt.args), nil, &out, &errs)
		if code != tt.code || errs.String() != tt.stderr {
			t.Errorf("%s: %d, %q; want %d, %q", tt.args, code, errs.String(), tt.code, tt.stderr)
		}
	}
}

func TestPrintableTakesTheTerminalAway(t *testing.T) {
	if got := Printable("a\x1b[2J\u202eb\u009bc\tü 中\nd"); got != "a?[2J?b?c?ü 中\nd" {
		t.Errorf("%q", got)
	}
}

func TestTableAlignsOrSaysThatItIsEmpty(t *testing.T) {
	var b bytes.Buffer
	if err := (Table{Header: []string{"A", "B"}, Rows: [][]string{{"long one", "x\x1b"}}}).Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := (Table{Header: []string{"A"}, Empty: "nothing"}).Write(&b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != "A         B\nlong one  x?\nnothing\n" {
		t.Errorf("%q", got)
	}
}

func TestWordsForPeople(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{Count(1, "file"), "1 file"}, {Count(0, "file"), "0 files"}, {Count(uint64(2), "file"), "2 files"},
		{When(time.Time{}), "-"}, {When(now), "2026-01-02 03:04:05Z"},
		{Ago(time.Time{}, now), "never"}, {Ago(now.Add(-2*time.Hour), now), "2 hours ago"}, {Ago(now.Add(time.Hour), now), "1 hour from now"},
		{Size(-1), "0 B"}, {Size(17 << 10), "17 KiB"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
