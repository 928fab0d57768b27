package cli

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// Log returns a logger for a program's standard error: text on a terminal,
// JSON elsewhere. Format "text" or "json" decides regardless.
func Log(w io.Writer, format string, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "text" || format == "" && IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// IsTerminal reports whether a person is looking at what is written to w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
