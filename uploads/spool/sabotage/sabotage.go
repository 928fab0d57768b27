// Package sabotage holds bugs that are put into the upload plane on purpose, so
// that the harnesses which look for lost files can be seen to find them.
//
// They exist in programs built with -tags sabotage alone, where the environment
// variable [Variable] names the one that is on. Everywhere else they are
// constants that are false, and the compiler leaves out what they guard.
package sabotage

// Variable is what a program built with -tags sabotage reads.
const Variable = "BEACON_SABOTAGE"

// Names of the bugs, as the variable gives them.
const (
	// NameAckBeforeSync answers an upload before the sync that makes it durable.
	NameAckBeforeSync = "acknowledge-before-sync"
	// NameNoDirectorySync never syncs a directory of the spool.
	NameNoDirectorySync = "no-directory-sync"
	// NameHeaderBeforeGenerationSync uses a freed segment again before its new
	// generation is durable.
	NameHeaderBeforeGenerationSync = "header-before-generation-sync"
	// NameMarkBeforeAnswer marks files delivered before their sink has answered.
	NameMarkBeforeAnswer = "mark-before-answer"
	// NameRecycleNeededMarks frees a segment without copying the marks in it that
	// records on disk still need.
	NameRecycleNeededMarks = "recycle-needed-marks"
)
