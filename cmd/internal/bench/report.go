//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// A result is one row of the report and of the JSON file.
type result struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Bar    float64 `json:"bar"` // 0: none
	Pass   bool    `json:"pass"`
	Peer   string  `json:"peer"`
	Runs   int     `json:"runs"`
	Detail string  `json:"detail"`
}

// atMost makes the row of a figure with a bar from above: the worst run counts.
func atMost(name, unit string, runs []float64, bar float64) result {
	v := slices.Max(runs)
	return result{Name: name, Value: round(v), Unit: unit, Bar: bar, Pass: v <= bar, Peer: "at most", Runs: len(runs), Detail: fmt.Sprintf("%.1f", runs)}
}

func (r result) verdict() string {
	switch {
	case r.Bar == 0:
		return "-"
	case r.Pass:
		return "pass"
	}
	return "MISSED"
}

func printTable(w io.Writer, results []result) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tVALUE\tBAR\tVERDICT\tPEER\tDETAIL")
	for _, r := range results {
		bar := "-"
		if r.Bar != 0 {
			bar = fmt.Sprintf("%g", r.Bar)
		}
		fmt.Fprintf(tw, "%s\t%g %s\t%s\t%s\t%s\t%s\n", r.Name, r.Value, r.Unit, bar, r.verdict(), r.Peer, r.Detail)
	}
	return tw.Flush()
}

func writeJSON(path string, results []result) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
