package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// of is the line that tells of an event.
func of(identity string, e spool.Event) Loss {
	u := e.Upload
	l := Loss{
		Version: Version, Event: EventLoss, Beacon: identity, Seq: e.Seq, Kind: u.Kind, Name: u.Name.String(),
		Device: u.Device.Name, Domain: u.Device.Domain, Bytes: u.Size, Received: u.Received, At: e.At, Reason: e.Reason, Detail: e.Detail,
	}
	if !u.Name.IsZero() {
		l.Receipt, l.SHA256 = uploads.ReceiptID(u.Kind, u.Name, u.Digest), &u.Digest
	}
	if !u.Received.IsZero() {
		l.AgeSeconds = int64(max(0, e.At.Sub(u.Received)) / time.Second)
	}
	return l
}

// encode writes a report: the same for the same losses.
func encode(identity string, events []spool.Event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, e := range events {
		if err := enc.Encode(of(identity, e)); err != nil {
			return nil, fmt.Errorf("write loss %d: %w", e.Seq, err)
		}
	}
	return b.Bytes(), nil
}

// What a report may hold. Ours stay far below; more is somebody else's idea of one.
const (
	maxLine  = 64 << 10
	maxLines = 10_000
)

// ErrReport means that a file is no report that this program understands.
var ErrReport = errors.New("not a loss report")

// Read returns the losses that a report tells of. Lines about other events, and
// those of a later format, are passed over.
func Read(r io.Reader) (losses []Loss, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if n > maxLines {
			return nil, fmt.Errorf("%w: more than %d lines", ErrReport, maxLines)
		}
		var l Loss
		switch err := json.Unmarshal(lines.Bytes(), &l); {
		case err != nil:
			return nil, fmt.Errorf("%w: line %d: %w", ErrReport, n, err)
		case l.Version > Version || l.Event != EventLoss:
			continue
		case l.Beacon == "" || l.Reason == "" || l.At.IsZero():
			return nil, fmt.Errorf("%w: line %d: beacon, at or reason is missing", ErrReport, n)
		}
		losses = append(losses, l)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReport, err)
	}
	return losses, nil
}
