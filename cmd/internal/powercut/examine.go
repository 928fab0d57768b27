//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"inventorybeacon/cmd/internal/powercut/cutdisk"
	"inventorybeacon/uploads"
)

// A question is what an image is asked.
type question struct {
	Role   role
	Data   string // the program's data directory
	Claims []claim
	// Above are the files that the beacon above had acknowledged by then, which
	// may therefore have left.
	Above map[uploads.Digest]bool
	// Revision was published, and Parts had come.
	Revision uint64
	Parts    []part
}

// An answer is what an image showed.
type answer struct {
	Checked int
	// Of those, so many were held, had gone where they should, or were in quarantine.
	Held, Gone, Quarantined int
	Lost                    []string // acknowledged files that are nowhere
	Faults                  []string // whatever else a cut of the power must not do
}

func (a *answer) lost(c claim, why string) {
	a.Lost = append(a.Lost, fmt.Sprintf("%s/%s, acknowledged at tick %d: %s", c.Kind, c.Name, c.Tick, why))
}

func (a *answer) fault(format string, args ...any) {
	a.Faults = append(a.Faults, fmt.Sprintf(format, args...))
}

// question is what the disk of a role is asked after a cut.
func (r *recording) question(at cut) question {
	q := question{Role: at.role, Above: map[uploads.Digest]bool{}}
	q.Claims = until(r.claims[at.role], at.tick)
	above := map[role]role{agent: beacon, beacon: parent}[at.role]
	for _, c := range until(r.claims[above], at.tick) {
		q.Above[c.SHA256] = true
	}
	if at.role != beacon {
		return q
	}
	for _, p := range r.revisions {
		if p.Tick <= at.tick {
			q.Revision = max(q.Revision, p.Number)
		}
	}
	latest := map[string]int{}
	for _, p := range r.parts {
		if i, known := latest[p.ID]; p.Tick > at.tick {
			continue
		} else if known {
			q.Parts[i] = p
			continue
		}
		latest[p.ID] = len(q.Parts)
		q.Parts = append(q.Parts, p)
	}
	return q
}

func until(claims []claim, tick uint64) []claim {
	for i, c := range claims {
		if c.Tick > tick {
			return claims[:i]
		}
	}
	return claims
}

// answerWithin bounds the examination of one image, which takes about a second.
const answerWithin = 5 * time.Minute

// look mounts an image and lets a process of its own examine it: files of a
// disk that this process serves must not be mapped into its memory. With start,
// the real beacon opens it before.
func (c *campaign) look(ctx context.Context, shelf *cutdisk.Shelf, fs cutdisk.Type, image *cutdisk.Image, dir string, q question, start bool) (a answer, err error) {
	defer shelf.Take("cut")
	if err := fs.Mount(shelf.Put("cut", cutdisk.NewDisk(image)), dir); err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, cutdisk.Unmount(dir)) }()
	q.Data = filepath.Join(dir, dataDir)
	var started answer
	if start && q.Role != agent {
		started = c.startOn(ctx, filepath.Dir(dir), q)
	}
	text, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "examine")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(text), &said
	out, err := cmd.Output()
	if err != nil {
		return a, fmt.Errorf("examine the image: %w\n%s", err, strings.TrimSpace(said.String()))
	}
	err = json.Unmarshal(out, &a)
	a.Lost, a.Faults = append(a.Lost, started.Lost...), append(a.Faults, started.Faults...)
	return a, err
}

// answerQuestion is the process that [look] starts.
func answerQuestion(in, out *os.File) int {
	var q question
	if err := json.NewDecoder(in).Decode(&q); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	a := answer{Checked: len(q.Claims) + len(q.Parts)}
	if _, err := os.Stat(q.Data); errors.Is(err, os.ErrNotExist) {
		for _, c := range q.Claims {
			a.lost(c, "the data directory is gone")
		}
	} else if q.Role == agent {
		examineAgent(&q, &a)
	} else {
		examineBeacon(&q, &a)
	}
	if err := json.NewEncoder(out).Encode(a); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
