package bundle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Mistake is one thing that is wrong with a bundle.
type Mistake struct {
	File string // below the bundle; empty: the bundle as a whole
	Line int    // from 1; 0: the file as a whole
	What string
}

// String returns "file:line: what".
func (m Mistake) String() string {
	switch {
	case m.File == "":
		return m.What
	case m.Line == 0:
		return m.File + ": " + m.What
	}
	return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.What)
}

// Mistakes is everything that is wrong with one bundle.
type Mistakes []Mistake

// Error returns the first mistake and how many follow, on one line.
func (m Mistakes) Error() string {
	if len(m) == 1 {
		return m[0].String()
	}
	return fmt.Sprintf("%s (and %d more)", m[0], len(m)-1)
}

// Text returns one mistake a line.
func (m Mistakes) Text() string {
	var b strings.Builder
	for _, one := range m {
		b.WriteString(one.String() + "\n")
	}
	return b.String()
}

func (m *Mistakes) add(file string, line int, format string, args ...any) {
	*m = append(*m, Mistake{file, line, fmt.Sprintf(format, args...)})
}

func (m Mistakes) sort() {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}
