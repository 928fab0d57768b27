//go:build !sabotage

package sabotage

import "testing"

// none does not compile unless the bugs are constants, whose code the compiler
// leaves out.
const none = !AckBeforeSync && !NoDirectorySync && !HeaderBeforeGenerationSync && !MarkBeforeAnswer && !RecycleNeededMarks

func TestProgramsAreSoundUnlessBuiltOtherwise(t *testing.T) {
	if !none {
		t.Error("a bug is on")
	}
}
