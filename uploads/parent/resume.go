package parent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
)

const (
	// DefaultThreshold is from which size on a file is sent so that it can be
	// resumed. A smaller one costs more files two requests beside the one with their
	// bytes; a larger one makes a cut cost more of them a whole resend.
	DefaultThreshold = 4 << 20
	// smallestPart is what is sent at a time through a proxy that takes no more: half
	// of the usual limit of 1 MB.
	smallestPart = 512 << 10
	// plainFor is how long a location that does not speak of parts is believed. A
	// shorter time notices an upgrade sooner, at one request a large file.
	plainFor = time.Hour
	// patience is how often in a row a transfer goes on at once although nothing
	// has arrived since it was cut, and restarts how often it begins again because
	// the location has forgotten it. Whoever called tries again later.
	patience, restarts = 2, 2
)

// goOn spaces the attempts of one transfer: a line that was cut may be back at once.
var goOn = backoff.Backoff{Min: 100 * time.Millisecond, Max: time.Second}

// Resuming sends large files so that a cut connection costs what was on the way
// and not the whole: an upload is begun with an empty request, its bytes follow,
// and after a cut they go on where the location says they stopped. Where an upload
// lies is not kept here: a location that is asked for the file's digest says so,
// also after a restart.
//
// It remembers of each location what it takes. The zero value is ready for use.
type Resuming struct {
	// Threshold is from which size on files are sent so; 0 means DefaultThreshold.
	Threshold int64
	// Log is told when a transfer goes on; nil discards.
	Log *slog.Logger

	mu      sync.Mutex
	manners map[string]manner // by root
}

// A manner is how a location has to be spoken to.
type manner struct {
	plain time.Time // until then it does not speak of parts
	part  int64     // most bytes of one request; 0 means no bound
}

func (s *Resuming) of(at Location) manner {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manners[at.Root]
}

func (s *Resuming) learn(at Location, change func(*manner)) manner {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.manners == nil {
		s.manners = map[string]manner{}
	}
	m := s.manners[at.Root]
	change(&m)
	s.manners[at.Root] = m
	return m
}

// wants reports whether a file is to be sent in parts. Where a proxy limits
// requests, that begins with files above the limit.
func (s *Resuming) wants(at Location, u uploads.Upload, now time.Time) bool {
	if s == nil {
		return false
	}
	least := s.Threshold
	if least <= 0 {
		least = DefaultThreshold
	}
	m := s.of(at)
	if m.part > 0 {
		least = min(least, m.part+1)
	}
	return u.Size >= least && now.After(m.plain)
}

// bare413 reports whether somebody in between found a request too large.
func bare413(err error) bool {
	answer, ok := errors.AsType[*AnswerError](err)
	return ok && answer.Status == 413 && answer.Code == ""
}

func (s *Resuming) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// resume sends a file in parts until it has its receipt. spoken is false if the
// location does not take it so; then nothing was decided about the file.
func (c *Client) resume(ctx context.Context, at Location, u uploads.Upload, open func() (uploads.Body, error)) (r uploads.Receipt, spoken bool, err error) {
	body, err := open()
	if err != nil {
		return r, true, err
	}
	defer body.Close()
	t := &transfer{c: c, at: at, u: u, body: body}
	for stuck, begun := 0, 0; ; {
		before := t.offset
		r, err = t.once(ctx)
		switch {
		case err == nil:
			return r, true, nil
		case errors.Is(err, errUnspoken):
			return r, false, nil
		case ctx.Err() != nil:
			return r, true, err
		case errors.Is(err, errForgotten) && begun < restarts:
			begun++
			t.id, t.offset, t.known = "", 0, false
			continue
		case !goesOn(err):
			return r, true, err
		case t.offset > before:
			stuck = 0
		}
		if stuck++; stuck > patience {
			return r, true, err
		}
		c.client().CloseIdleConnections()
		c.Resume.log().Info("upload cut; it goes on", slog.String("to", at.Name), slog.String("name", u.Name.String()),
			slog.Int64("offset", t.offset), slog.Int64("bytes", u.Size), slog.Any("err", err))
		if !backoff.Sleep(ctx, goOn.Delay(stuck)) {
			return r, true, err
		}
	}
}

var (
	// errUnspoken means that the location does not take files in parts.
	errUnspoken = errors.New("not sent in parts here")
	// errForgotten means that the location does not know the upload any longer.
	errForgotten = errors.New("the unfinished upload is gone")
)

// goesOn reports whether a transfer that failed so may go on at once: the
// connection failed, or the location had waited too long.
func goesOn(err error) bool {
	if answer, ok := errors.AsType[*AnswerError](err); ok {
		return answer.Status == 408
	}
	if _, asked := errors.AsType[*uploads.RetryError](err); asked {
		return false
	}
	return !errors.Is(err, uploads.ErrRefused) && !errors.Is(err, uploads.ErrDigest) && !errors.Is(err, uploads.ErrLoop) && !errors.Is(err, errForgotten)
}
