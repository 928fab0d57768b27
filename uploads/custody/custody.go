// Package custody is about how far up a file is known to be held: which level
// is higher, what an answer adds to what was known, and when to ask for more.
//
// It is pure: it asks nobody, and is told the time.
package custody

import "inventorybeacon/uploads"

// Levels are the levels a sender may wait for, the lowest first.
var Levels = []string{uploads.LevelBeacon, uploads.LevelParent, uploads.LevelStore}

// rank is 0 for a word that is no level, as of a holder who proves nothing.
func rank(level string) int {
	for i, l := range Levels {
		if l == level {
			return i + 1
		}
	}
	return 0
}

// Reached reports whether one of the holders is at level, or above it: where a
// beacon has no parent, its store stands for both.
func Reached(holders []uploads.Custody, level string) bool {
	return rank(Highest(holders)) >= rank(level)
}

// Highest returns the highest level among the holders; empty if none of them is
// at one, so that nothing higher will be heard of either.
func Highest(holders []uploads.Custody) (level string) {
	for _, c := range holders {
		if rank(c.Level) > rank(level) {
			level = c.Level
		}
	}
	return level
}

// News returns the holders that were told of and not known. One holder is known
// by its level and name: it has a file since it first had it.
func News(known, told []uploads.Custody) (news []uploads.Custody) {
	for _, c := range told {
		if !has(known, c) && !has(news, c) {
			news = append(news, c)
		}
	}
	return news
}

func has(holders []uploads.Custody, c uploads.Custody) bool {
	for _, h := range holders {
		if h.Level == c.Level && h.Beacon == c.Beacon {
			return true
		}
	}
	return false
}
