//go:build linux

package main

import "testing"

func TestBarIsMissedOnlyWhenMostPairsMissIt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ratios []float64
		want   bool
	}{
		{"all above", []float64{2, 2, 2, 2, 2, 2, 2}, false},
		{"all below", []float64{1, 1, 1, 1, 1, 1, 1}, true},
		{"one noisy pair", []float64{0.2, 2, 2, 2, 2, 2, 2}, false},
		{"four of seven below", []float64{1, 1, 1, 1, 2, 2, 2}, false},
		{"five of seven below", []float64{1, 1, 1, 1, 1, 2, 2}, true},
	} {
		if got := missed(tt.ratios, 1.6); got != tt.want {
			t.Errorf("%s: missed = %v", tt.name, got)
		}
	}
}

func TestMedianIsTheMiddle(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("odd: %v", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("even: %v", got)
	}
}
