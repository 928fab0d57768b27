package desk

import (
	"context"
	"errors"
	"fmt"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/spool"
)

// A QuarantineFilter selects entries; the zero value selects those whose bytes
// are here.
type QuarantineFilter struct {
	// Left selects those whose bytes left instead.
	Left bool `json:"left,omitempty"`
	// Limit is the most entries, the latest first; 0 means all.
	Limit int `json:"limit,omitempty"`
}

// A Decision is what a person wants done with a quarantined file.
type Decision struct {
	Receipt string `json:"receipt"` // or how it begins
	By      string `json:"by"`
}

// Released says what became of a file that went on.
type Released struct {
	Entry   quarantine.Entry `json:"entry"`
	Receipt uploads.Receipt  `json:"receipt"`
}

// The calls about what was refused.
var (
	ListQuarantine     = Call[QuarantineFilter, []quarantine.Entry]{"quarantine.list", (*Desk).listQuarantine}
	ShowQuarantined    = Call[string, quarantine.Entry]{"quarantine.show", (*Desk).showQuarantined}
	ReleaseQuarantined = Call[Decision, Released]{"quarantine.release", (*Desk).releaseQuarantined}
	DropQuarantined    = Call[Decision, quarantine.Entry]{"quarantine.drop", (*Desk).dropQuarantined}
)

func (d *Desk) listQuarantine(_ context.Context, in QuarantineFilter) ([]quarantine.Entry, error) {
	q, err := d.refused()
	if err != nil {
		return nil, err
	}
	found, err := q.List(in.Left)
	if len(found) == 0 && err != nil {
		return nil, err
	}
	if in.Limit > 0 && len(found) > in.Limit {
		found = found[:in.Limit]
	}
	return append([]quarantine.Entry{}, found...), nil
}

func (d *Desk) showQuarantined(_ context.Context, receipt string) (e quarantine.Entry, err error) {
	q, err := d.refused()
	if err != nil {
		return e, err
	}
	return found(q.Find(receipt))
}

func found(e quarantine.Entry, err error) (quarantine.Entry, error) {
	if errors.Is(err, uploads.ErrUnknown) {
		err = fmt.Errorf("%w: run `beacon uploads quarantine list` to see what is there", err)
	}
	return e, err
}

// releaseQuarantined puts a file back into the spool, as it came, to be relayed
// unchecked. The loss that its refusal was is closed by that.
func (d *Desk) releaseQuarantined(ctx context.Context, in Decision) (out Released, err error) {
	if out.Entry, err = d.showQuarantined(ctx, in.Receipt); err != nil {
		return out, err
	}
	q, err := d.refused()
	if err != nil {
		return out, err
	}
	s, err := d.spool()
	if err != nil {
		return out, err
	}
	err = q.Release(out.Entry.ID, in.By, func(e quarantine.Entry, body uploads.Body) error {
		out.Receipt, err = s.Accept(ctx, draftOf(e), body)
		if err == nil && out.Receipt.Duplicate {
			err = d.notAgain(s, e)
		}
		return hinted(err)
	})
	return out, err
}

func draftOf(e quarantine.Entry) spool.Draft {
	return spool.Draft{
		Kind: e.Kind, Name: e.Name, Device: e.Device, AgentID: e.AgentID, Peer: e.Peer, Via: e.Via, Beacon: e.Beacon,
		Received: e.Received, Modified: e.Modified, Recovered: e.Recovered,
		Length: e.Size, Want: &e.Digest, Released: true,
	}
}

// notAgain says why a file that the spool has had in the meantime is not given to
// it again. The entry stays: which of both is refused once more would else decide
// whether the bytes are anywhere.
func (d *Desk) notAgain(s *spool.Spool, e quarantine.Entry) error {
	if _, held := s.HeldExact(e.Kind, e.Name, e.Digest); held {
		return errors.New("the same file waits for its relay: see `beacon uploads show` and, once it is delivered, drop this one")
	}
	return errors.New("the same file has been delivered: drop this one")
}

// hinted adds to an error what can be done about it.
func hinted(err error) error {
	switch {
	case errors.Is(err, uploads.ErrDigest):
		return fmt.Errorf("its bytes are not what they were: it can only be dropped: %w", err)
	case errors.Is(err, uploads.ErrFull):
		return fmt.Errorf("%w: try again once some files are relayed", err)
	}
	return err
}

func (d *Desk) dropQuarantined(ctx context.Context, in Decision) (e quarantine.Entry, err error) {
	if e, err = d.showQuarantined(ctx, in.Receipt); err != nil {
		return e, err
	}
	q, err := d.refused()
	if err != nil {
		return e, err
	}
	if err := q.Drop(e.ID, in.By); err != nil {
		return e, err
	}
	if e, err = q.Get(e.ID); err != nil {
		return e, err
	}
	cat, err := d.catalogue(ctx)
	if err != nil {
		return e, err
	}
	return e, cat.Dropped(ctx, e.Record())
}

// quarantineProblems says that somebody should look.
func (d *Desk) quarantineProblems() []string {
	q, err := d.refused()
	if err != nil {
		return []string{"the quarantine cannot be opened: " + err.Error()}
	}
	switch u := q.Usage(); u.Files {
	case 0:
		return nil
	case 1:
		return []string{"1 file is in quarantine: `beacon uploads quarantine list` says why"}
	default:
		return []string{fmt.Sprintf("%d files are in quarantine: `beacon uploads quarantine list` says why", u.Files)}
	}
}
