package receipts

import (
	"fmt"
	"path"
	"strings"
)

// The names of files. Logs are numbered, and a run holds the receipts of the
// logs with the numbers low to high. A run or log whose numbers another run
// covers is what was left when a merge was cut short after its result was
// durable. Of two with the same numbers the one that was rewritten more often
// counts. So no file is ever renamed once there is something in it that counts,
// and no list of files can be lost.
const (
	// markName is the one log of version 1, which counts as number 0. Since then
	// there is a header under this name and nothing else, so that a program of that
	// version refuses what it would not find.
	markName  = "receipts.log"
	logSuffix = ".log"
	runSuffix = ".run"
)

// A span is the numbers of the logs whose receipts a file holds.
type span struct {
	low, high uint64
	rewritten uint64
}

func (s span) covers(o span) bool {
	return s.low <= o.low && o.high <= s.high && (s.width() > o.width() || s.rewritten > o.rewritten)
}

func (s span) width() uint64 { return s.high - s.low }

func logName(number uint64) string { return fmt.Sprintf("%08d%s", number, logSuffix) }

func (s span) runName() string {
	return fmt.Sprintf("%08d-%08d.%d%s", s.low, s.high, s.rewritten, runSuffix)
}

func parseLogName(base string) (number uint64, ok bool) {
	_, err := fmt.Sscanf(base, "%d.log", &number)
	return number, err == nil && number > 0 && base == logName(number)
}

func parseRunName(base string) (s span, ok bool) {
	_, err := fmt.Sscanf(base, "%d-%d.%d.run", &s.low, &s.high, &s.rewritten)
	return s, err == nil && s.low <= s.high && base == s.runName()
}

// IsOurs says whether a file in the receipts' directory has a name that they
// give.
func IsOurs(base string) bool {
	_, isLog := parseLogName(base)
	_, isRun := parseRunName(base)
	return base == markName || isLog || isRun || isTemp(base)
}

func isTemp(base string) bool {
	of, ok := strings.CutSuffix(base, tempSuffix)
	_, isRun := parseRunName(of)
	return ok && (isRun || of == markName)
}

func dirOf(name string) string { return path.Dir(name) }
