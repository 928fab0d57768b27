package agentside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"inventorybeacon/agentside/datadir"
	"inventorybeacon/schedule"
	"inventorybeacon/uploads/backoff"
)

const statusFile = datadir.State + "/status.json"

// ErrNoStatus means that no agent has ever run on a data directory.
var ErrNoStatus = errors.New("no agent has run here yet")

// ReadStatus reads what the agent that owns, or owned, a data directory says of
// itself. It works whether the agent runs or not.
func ReadStatus(data string) (Status, error) {
	b, err := os.ReadFile(filepath.Join(data, statusFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Status{}, fmt.Errorf("%w: %s: give --data", ErrNoStatus, data)
	}
	if err != nil {
		return Status{}, fmt.Errorf("read status: %w", err)
	}
	var s Status
	if err := json.Unmarshal(b, &s); err != nil {
		return Status{}, fmt.Errorf("read status: %w", err)
	}
	if s.Format > StatusFormat {
		return Status{}, fmt.Errorf("read status: it has format %d, this program knows %d: use the newer program", s.Format, StatusFormat)
	}
	s.Holder, err = datadir.Held(data)
	return s, err
}

// Status returns what the agent would write to its status file now.
func (a *Agent) Status() Status {
	a.mu.Lock()
	loop := a.loop
	s := Status{
		Format: StatusFormat, Updated: time.Now().UTC().Truncate(time.Second),
		Version: a.o.Version, Device: a.o.Name, Domain: a.o.Domain, AgentID: a.id,
		Policy: a.policyStatus(), Events: []EventStatus{}, Beacons: []LocationStatus{},
	}
	if a.held != nil {
		s.Warnings = warnings(a.held)
	}
	for _, e := range a.events {
		run := a.runs[strings.ToLower(e.ID)]
		s.Events = append(s.Events, EventStatus{Name: e.Name, Run: e.Run, BuiltIn: e.builtIn, Last: run.began, Error: run.err})
	}
	ids := make([]string, len(a.events))
	for i, e := range a.events {
		ids[i] = e.ID
	}
	a.mu.Unlock()
	if loop != nil {
		addTimes(s.Events, ids, loop.Upcoming())
	}
	s.Outbox = a.outboxStatus()
	for _, b := range a.route.Standings() {
		l := LocationStatus{Name: b.Name, Download: b.Download, Upload: b.Upload, Error: b.Error, InUse: b.InUse}
		if b.Rest.After(time.Now()) {
			l.Down = b.Rest
		}
		s.Beacons = append(s.Beacons, l)
	}
	return s
}

func addTimes(events []EventStatus, ids []string, upcoming []schedule.Upcoming) {
	for _, u := range upcoming {
		for i := range events {
			if strings.EqualFold(ids[i], u.Event.ID) {
				events[i].Next = u.At.UTC()
				if events[i].Last.IsZero() {
					events[i].Last = u.Ran
				}
			}
		}
	}
}

// policyStatus wants a.mu.
func (a *Agent) policyStatus() PolicyStatus {
	s := PolicyStatus{
		LastTry: a.poll.lastTry, LastGood: a.poll.lastGood, Failures: a.poll.failures, Error: a.poll.err, NextTry: a.poll.nextTry,
	}
	if p := a.held; p != nil {
		s.Held, s.Digest, s.Taken, s.From = true, p.Digest.String(), p.Taken, p.From
		if r := p.Revision; !r.IsZero() {
			s.Revision, s.Publisher, s.Epoch, s.Number = r.String(), r.Publisher, r.Epoch, r.Number
		}
	}
	return s
}

func (a *Agent) outboxStatus() OutboxStatus {
	held, sent, kept := a.spool.Stats(), a.relay.Status(), a.keeper.Status()
	s := OutboxStatus{
		Waiting: held.Pending, Bytes: held.PendingBytes, Oldest: held.Oldest, LastAck: sent.LastDelivered.UTC(),
		Held: min(kept.Files, held.Pending), HeldBytes: kept.Bytes, ForgetAt: kept.Level, NextAsk: sent.NextQuestion.UTC(),
		Error: sent.LastError, NextTry: sent.NextAttempt.UTC(), Stuck: a.outbox.Stuck(), Lost: held.Lost,
	}
	if kept.LastAck.After(sent.LastDelivered) {
		s.LastAck = kept.LastAck.UTC()
	} else if sent.LastDelivered.IsZero() {
		s.LastAck = time.Time{}
	}
	if sent.NextQuestion.IsZero() {
		s.NextAsk = time.Time{}
	}
	if sent.NextAttempt.IsZero() {
		s.NextTry = time.Time{}
	}
	for _, t := range sent.Trouble {
		f := AsideFile{State: t.State, Reason: t.Reason, Since: t.At.UTC(), Again: t.Next}
		if u := a.spool.Pending(sinkName, t.Seq-1, 1); len(u) == 1 && u[0].Seq == t.Seq {
			f.Kind, f.File = u[0].Kind, u[0].Name.String()
			s.Aside = append(s.Aside, f)
		}
	}
	return s
}

// saveStatus writes the status file and returns what it wrote.
func (a *Agent) saveStatus() (Status, error) {
	s := a.Status()
	return s, a.dir.WriteJSON(statusFile, s)
}

const (
	// statusEvery is how often the status is written at most: changes come in
	// bursts, and each write is a sync.
	statusEvery = 2 * time.Second
	// statusSlow is how often it is written, if it changed, without being told.
	statusSlow = 5 * time.Minute
)

// keepStatus writes the status when it has something new.
func (a *Agent) keepStatus(ctx context.Context) error {
	var last []byte
	for {
		s := a.Status()
		s.Updated = time.Time{}
		b, err := json.Marshal(s)
		if err == nil && !bytes.Equal(b, last) {
			_, err = a.saveStatus()
			last = b
		}
		if err != nil {
			a.log.Warn("status not written", slog.Any("err", err))
		}
		if !backoff.Sleep(ctx, statusEvery) {
			return ctx.Err()
		}
		slow := time.NewTimer(statusSlow)
		select {
		case <-ctx.Done():
		case <-a.dirty:
		case <-slow.C:
		}
		slow.Stop()
	}
}
