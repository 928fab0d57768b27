//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// fewestPairs is how many interleaved pairs a ratio needs before it counts;
// mustMiss of them have to miss the bar, beside the median, before it is missed.
const (
	fewestPairs = 7
	mustMiss    = 5
)

// A sample is one timed run of one contestant.
type sample struct {
	Rate float64 // requests a second
	CPU  float64 // microseconds of server CPU a request
}

// pairs are interleaved runs of ours and a peer's, in the order they were made.
type pairs struct {
	ours, peer []sample
}

func (p pairs) ratios(of func(sample) float64) []float64 {
	out := make([]float64, len(p.ours))
	for i := range p.ours {
		out[i] = of(p.ours[i]) / of(p.peer[i])
	}
	return out
}

func rate(s sample) float64 { return s.Rate }
func cpu(s sample) float64  { return s.CPU }

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func column(s []sample, of func(sample) float64) []float64 {
	out := make([]float64, len(s))
	for i := range s {
		out[i] = of(s[i])
	}
	return out
}

// result makes the row for a ratio of rates with a bar from below; a bar of 0
// is no bar.
func (p pairs) result(name, peer string, bar float64) result {
	r := p.ratios(rate)
	return result{
		Name: name, Value: round(median(r)), Unit: "x", Bar: bar, Peer: peer, Runs: len(r),
		Pass:   bar == 0 || !missed(r, bar),
		Detail: p.detail(r),
	}
}

// missed reports whether the median and most of the pairs are below the bar:
// one noisy pair does not decide.
func missed(ratios []float64, bar float64) bool {
	below := 0
	for _, r := range ratios {
		if r < bar {
			below++
		}
	}
	return median(ratios) < bar && below*fewestPairs >= mustMiss*len(ratios)
}

func (p pairs) detail(ratios []float64) string {
	var each []string
	for _, r := range ratios {
		each = append(each, fmt.Sprintf("%.2f", r))
	}
	return fmt.Sprintf("spread %.2f-%.2f (%s); ours %.0f/s, %.0f us server CPU each; peer %.0f/s, %.0f us",
		slices.Min(ratios), slices.Max(ratios), strings.Join(each, " "),
		median(column(p.ours, rate)), median(column(p.ours, cpu)),
		median(column(p.peer, rate)), median(column(p.peer, cpu)))
}

func round(v float64) float64 { return math.Round(v*1000) / 1000 }
