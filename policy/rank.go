package policy

import (
	"fmt"
	"slices"
)

// A Rank is how specific the most specific of a bundle's conditions is.
type Rank uint8

// Ranks, the most specific first.
const (
	NoMatch Rank = iota
	ExactDevice
	Group
	Tag
	Address
	DevicePattern
	Domain
	Platform
	Everyone
)

var rankNames = [...]string{"none", "device", "group", "tag", "address", "device pattern", "domain", "platform", "*"}

// String returns the word that `policy show` uses.
func (r Rank) String() string { return rankNames[r] }

// MarshalText implements [encoding.TextMarshaler].
func (r Rank) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *Rank) UnmarshalText(b []byte) error {
	i := slices.Index(rankNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("rank %q is not known", b)
	}
	*r = Rank(i)
	return nil
}
