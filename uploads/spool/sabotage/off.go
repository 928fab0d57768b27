//go:build !sabotage

package sabotage

// Each is one of the bugs; none is in this program.
const (
	AckBeforeSync              = false
	NoDirectorySync            = false
	HeaderBeforeGenerationSync = false
	MarkBeforeAnswer           = false
	RecycleNeededMarks         = false
)
