package failover

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Chain is a list of selector algorithms; each reorders what the one before
// it left. The zero Chain changes nothing.
type Chain struct{ steps []step }

// A step is one algorithm with its arguments.
type step struct {
	algorithm *algorithm
	// length is how many characters MgsNameMatch compares.
	length int
	// limit is to how many servers it gives a place; 0 means all.
	limit int
	// discard drops the servers that it does not match.
	discard bool
}

// An algorithm is a row of the table of what there is.
type algorithm struct {
	name string
	// params are what its arguments mean, in order.
	params []param
	needs  Needs
	prefer func(rs []ranked, s step, f Facts) (front []ranked, matched func(ranked) bool)
	// foreign says on what this algorithm depends that we have not.
	foreign string
}

type param int

const (
	limit param = iota
	discard
	length
)

// Needs say what has to be measured for a chain.
type Needs struct{ RTT, Bandwidth, Addresses bool }

var algorithms = []*algorithm{
	{name: "MgsPing", params: []param{limit}, needs: Needs{RTT: true}, prefer: preferFast},
	{name: "MgsBandwidth", params: []param{limit}, needs: Needs{Bandwidth: true}, prefer: preferWide},
	{name: "MgsRandom", params: []param{limit}, prefer: preferRandom},
	{name: "MgsSubnetMatch", params: []param{limit, discard}, needs: Needs{Addresses: true}, prefer: preferSubnet},
	{name: "MgsIPMatch", params: []param{limit}, needs: Needs{Addresses: true}, prefer: preferNear},
	{name: "MgsDomainMatch", params: []param{limit}, prefer: preferDomain},
	{name: "MgsNameMatch", params: []param{length, limit, discard}, prefer: preferName},
	{name: "MgsADSiteMatch", foreign: "Active Directory sites"},
	{name: "MgsDHCP", foreign: "a server list in DHCP"},
	{name: "MgsServersFromAD", foreign: "a server list in Active Directory"},
}

// ParseChain reads a selector such as "MgsPing;MgsSubnetMatch(3,true)". Names
// are compared without regard to case, arguments may be left out. The warnings
// name algorithms that exist on Windows only and are skipped. The error lists
// everything that is wrong, with its column, from 1.
func ParseChain(s string) (Chain, []string, error) {
	var c Chain
	var warnings []string
	var wrong []error
	for column, part := range parts(s, ';') {
		text := strings.TrimSpace(part)
		if text == "" {
			continue
		}
		column += strings.Index(part, text)
		st, err := parseStep(text)
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("selector column %d: %w", column+1, err))
		case st.algorithm.foreign != "":
			warnings = append(warnings, fmt.Sprintf("%s needs %s and is skipped", st.algorithm.name, st.algorithm.foreign))
		default:
			c.steps = append(c.steps, st)
		}
	}
	if len(wrong) > 0 {
		return Chain{}, warnings, errors.Join(wrong...)
	}
	return c, warnings, nil
}

// parts yields what is between separators, with where it begins.
func parts(s string, sep byte) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for at := 0; ; {
			end := strings.IndexByte(s[at:], sep)
			if end < 0 {
				yield(at, s[at:])
				return
			}
			if !yield(at, s[at:at+end]) {
				return
			}
			at += end + 1
		}
	}
}

func parseStep(text string) (step, error) {
	name, args, called := strings.Cut(text, "(")
	if called {
		var closed bool
		if args, closed = strings.CutSuffix(args, ")"); !closed || strings.ContainsAny(args, "()") {
			return step{}, fmt.Errorf("%q: the parentheses do not match", text)
		}
	}
	name = strings.TrimSpace(name)
	i := slices.IndexFunc(algorithms, func(a *algorithm) bool { return strings.EqualFold(a.name, name) })
	if i < 0 {
		return step{}, fmt.Errorf("%q is no selector algorithm", name)
	}
	s := step{algorithm: algorithms[i]}
	if s.algorithm.foreign != "" {
		return s, nil
	}
	if err := s.parseArgs(args); err != nil {
		return step{}, fmt.Errorf("%s: %w", s.algorithm.name, err)
	}
	return s, nil
}

func (s *step) parseArgs(args string) error {
	values := strings.Split(args, ",")
	params := s.algorithm.params
	if len(values) > len(params) {
		return fmt.Errorf("%d arguments, it takes %d at most", len(values), len(params))
	}
	for i, v := range values {
		if err := s.parseArg(params[i], strings.TrimSpace(v)); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	if params[0] == length && s.length == 0 {
		return errors.New("argument 1: say how many characters to compare")
	}
	return nil
}

func (s *step) parseArg(p param, v string) (err error) {
	if v == "" {
		return nil
	}
	switch p {
	case limit:
		s.limit, err = parseCount(v)
	case length:
		s.length, err = parseCount(v)
	case discard:
		s.discard, err = parseBool(v)
	}
	return err
}

func parseCount(v string) (int, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number from 0 on", v)
	}
	return int(n), nil
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not true or false", v)
}

// String returns the chain as [ParseChain] reads it.
func (c Chain) String() string {
	out := make([]string, len(c.steps))
	for i, s := range c.steps {
		out[i] = s.String()
	}
	return strings.Join(out, ";")
}

func (s step) String() string {
	values := make([]string, len(s.algorithm.params))
	used := 0
	for i, p := range s.algorithm.params {
		switch {
		case p == limit && s.limit > 0:
			values[i] = strconv.Itoa(s.limit)
		case p == length:
			values[i] = strconv.Itoa(s.length)
		case p == discard && s.discard:
			values[i] = "true"
		default:
			continue
		}
		used = i + 1
	}
	if used == 0 {
		return s.algorithm.name
	}
	return s.algorithm.name + "(" + strings.Join(values[:used], ",") + ")"
}

// Needs returns what has to be measured before [Chain.Order].
func (c Chain) Needs() Needs {
	var n Needs
	for _, s := range c.steps {
		n.RTT = n.RTT || s.algorithm.needs.RTT
		n.Bandwidth = n.Bandwidth || s.algorithm.needs.Bandwidth
		n.Addresses = n.Addresses || s.algorithm.needs.Addresses
	}
	return n
}

// apply puts the servers that the algorithm prefers, at most limit of them, in
// front of the rest, which keep their order.
func (s step) apply(rs []ranked, f Facts) []ranked {
	front, matched := s.algorithm.prefer(rs, s, f)
	if s.limit > 0 && len(front) > s.limit {
		front = front[:s.limit]
	}
	out := slices.Clone(front)
	for _, r := range rs {
		ahead := slices.ContainsFunc(front, func(x ranked) bool { return x.index == r.index })
		if !ahead && (!s.discard || matched(r)) {
			out = append(out, r)
		}
	}
	return out
}
