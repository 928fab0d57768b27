package bundle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Mistake is one thing that is wrong with a bundle.
type Mistake struct {
	File    string `json:"file,omitzero"` // below the bundle; empty: the bundle as a whole
	Line    int    `json:"line,omitzero"` // from 1; 0: the file as a whole
	Message string `json:"message"`
}

// String returns "file:line: what".
func (m Mistake) String() string {
	switch {
	case m.File == "":
		return m.Message
	case m.Line == 0:
		return m.File + ": " + m.Message
	}
	return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Message)
}

// Mistakes is everything that is wrong with one bundle.
type Mistakes []Mistake

// Error returns one mistake a line.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (m *Mistakes) add(file string, line int, format string, args ...any) {
	*m = append(*m, Mistake{file, line, fmt.Sprintf(format, args...)})
}

func (m Mistakes) sort() {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}
