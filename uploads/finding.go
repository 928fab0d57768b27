package uploads

// A Finding is what was found when something was tried for the sake of knowing.
type Finding struct {
	// What was tried, in a few words.
	What string `json:"what"`
	// Err is what went wrong, nil if it works.
	Err error `json:"-"`
	// Detail is what a person should know of it, whether it works or not, and
	// what to do if it does not.
	Detail string `json:"detail,omitempty"`
	// Optional things do without: that one does not work is no failure.
	Optional bool `json:"optional,omitempty"`
}
