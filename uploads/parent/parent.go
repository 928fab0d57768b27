// Package parent sends uploads to a beacon: an agent's beacon, or a beacon's
// parent. Both speak the same protocol,
//
//	PUT <upload root>/<Kind>/<file>
//
// and both believe nothing but a receipt for these very bytes. A Sink adds the
// choice of where to send: one parent, or the beacons of an agent's failover list.
package parent

import (
	"errors"
	"fmt"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/problem"
)

// A Refusal is a beacon's verdict that it will not take a file. It matches
// [uploads.ErrRefused], and [uploads.ErrDigest] if the bytes were not the
// announced ones.
type Refusal struct {
	Location string
	*problem.Document
}

func (e *Refusal) Error() string { return fmt.Sprintf("%s answered %v", e.Location, e.Document) }

// Is makes a refusal match the error that says what to do.
func (e *Refusal) Is(target error) bool {
	if e.Code == problem.DigestMismatch {
		return target == uploads.ErrDigest
	}
	return target == uploads.ErrRefused
}

// An AnswerError is an answer that is no verdict: a beacon that wants the file
// later, or somebody in between who is no beacon.
type AnswerError struct {
	Location string
	Status   int
	Code     problem.Code // empty if it was not a beacon's document
	Why      string
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("%s answered %d: %s", e.Location, e.Status, e.Why)
}

// verdicts are the codes that say no for good. Any other code is the
// location's trouble: the file waits.
var verdicts = map[problem.Code]bool{
	problem.BadName: true, problem.BadRequest: true, problem.Forbidden: true, problem.LengthRequired: true,
	problem.TooLarge: true, problem.BadRange: true, problem.BadKind: true, problem.DigestMismatch: true, problem.BadContent: true,
}

// judge turns a beacon's no into the error that says what to do.
func judge(location string, d *problem.Document, after time.Duration, asked bool) error {
	var err error = &AnswerError{Location: location, Status: d.Status, Code: d.Code, Why: d.Error()}
	switch {
	case d.Code == problem.Loop:
		return fmt.Errorf("%w: %s: %w", uploads.ErrLoop, location, d)
	case verdicts[d.Code]:
		return &Refusal{Location: location, Document: d}
	case asked:
		return &uploads.RetryError{After: after, Err: err}
	}
	return err
}

// Settled reports whether the next location would say the same as the one err
// came from, or must not be asked: a verdict, a loop, a sender that is told to
// slow down, or bytes that are not what they should be.
func settled(err error) bool {
	if answer, ok := errors.AsType[*AnswerError](err); ok && answer.Status == 429 {
		return true
	}
	return errors.Is(err, uploads.ErrRefused) || errors.Is(err, uploads.ErrLoop) || errors.Is(err, uploads.ErrDigest)
}
