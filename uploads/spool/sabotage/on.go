//go:build sabotage

package sabotage

import (
	"fmt"
	"os"
	"slices"
)

// Each is one of the bugs, on if the environment says so.
var (
	AckBeforeSync              = on(NameAckBeforeSync)
	NoDirectorySync            = on(NameNoDirectorySync)
	HeaderBeforeGenerationSync = on(NameHeaderBeforeGenerationSync)
	MarkBeforeAnswer           = on(NameMarkBeforeAnswer)
	RecycleNeededMarks         = on(NameRecycleNeededMarks)
)

func on(name string) bool { return os.Getenv(Variable) == name }

// A name that is none of ours would make a harness search for a bug that is
// not there.
func init() {
	name := os.Getenv(Variable)
	known := []string{"", NameAckBeforeSync, NameNoDirectorySync, NameHeaderBeforeGenerationSync, NameMarkBeforeAnswer, NameRecycleNeededMarks}
	if !slices.Contains(known, name) {
		fmt.Fprintf(os.Stderr, "%s=%s: no such bug; there are %q\n", Variable, name, known[1:])
		os.Exit(2)
	}
}
