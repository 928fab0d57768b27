package desk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/archive"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/spool"
)

// An Export picks, of the files that wait, those that go into an archive, the
// oldest first. Empty fields match everything.
type Export struct {
	Kind   string `json:"kind"`
	Device string `json:"device"` // NAME or DOMAIN/NAME
	// Sink takes only what waits for that destination; the acknowledgement then
	// counts for it alone.
	Sink     string `json:"sink"`
	Limit    int    `json:"limit"`     // files; 0 means no limit
	MaxBytes int64  `json:"max_bytes"` // of their bodies; 0 means no limit
	// Config is the configuration file of a beacon that does not run.
	Config string `json:"config"`
}

// ExportUploads writes an archive of files that wait. They stay.
var ExportUploads = Stream[Export]{"uploads.export", (*Desk).exportUploads}

var errSinkStopped = errors.New("which files wait for which destination is known to a running beacon alone: start it, or leave out --sink")

// exportBuffer gathers the small parts of an archive. A larger one saves system
// calls; it is taken once for an export.
const exportBuffer = 256 << 10

func (d *Desk) exportUploads(ctx context.Context, in Export, w io.Writer) error {
	id, err := d.identity(in.Config)
	if err != nil {
		return err
	}
	key, err := d.signer()
	if err != nil {
		return err
	}
	picked, err := d.picked(ctx, in)
	if err != nil {
		return err
	}
	flags, err := d.flags(ctx)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, exportBuffer)
	a, err := archive.NewWriter(buffered, archive.Header{Beacon: id.Name, Key: key.Public(), Created: time.Now().UTC(), Sink: in.Sink}, key.Sign)
	if err != nil {
		return err
	}
	for u := range picked {
		if err := errors.Join(ctx.Err(), d.pack(a, u, flags)); err != nil {
			return err
		}
	}
	if _, err := a.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// pack adds a file to an archive unless it has left in the meantime.
func (d *Desk) pack(a *archive.Writer, u uploads.Upload, flags map[string]string) error {
	s, err := d.spool()
	if err != nil {
		return err
	}
	body, err := s.Body(u.Seq)
	if errors.Is(err, uploads.ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	e := archive.EntryOf(u)
	e.Flag = flags[e.Receipt]
	return a.Add(e, body)
}

// picked gives the files that an export is to hold.
func (d *Desk) picked(ctx context.Context, in Export) (iter.Seq[uploads.Upload], error) {
	s, err := d.spool()
	if err != nil {
		return nil, err
	}
	if in.Sink != "" {
		if d.deliver == nil {
			return nil, errSinkStopped
		}
		if _, known := s.Stats().Sinks[in.Sink]; !known {
			return nil, fmt.Errorf("no destination is called %q: run `beacon status` to see which there are", in.Sink)
		}
	}
	domain, device := splitDevice(in.Device)
	return func(yield func(uploads.Upload) bool) {
		files, bytes := 0, int64(0)
		for k := range waiting(s, in.Sink) {
			full := in.Limit > 0 && files >= in.Limit || in.MaxBytes > 0 && bytes >= in.MaxBytes
			if full || ctx.Err() != nil {
				return
			}
			if in.Kind != "" && !strings.EqualFold(k.Kind, in.Kind) || in.MaxBytes > 0 && bytes+k.Size > in.MaxBytes {
				continue
			}
			u, held := s.Lookup(k.Seq)
			if !held || device != "" && !strings.EqualFold(u.Device.Name, device) || domain != "" && !strings.EqualFold(u.Device.Domain, domain) {
				continue
			}
			files, bytes = files+1, bytes+u.Size
			if !yield(u) {
				return
			}
		}
	}, nil
}

// keysAtOnce are asked for at a time, so that nobody else waits long.
const keysAtOnce = 1024

// waiting gives the files that a destination, or any, has not got.
func waiting(s *spool.Spool, sink string) iter.Seq[spool.Key] {
	return func(yield func(spool.Key) bool) {
		var page []spool.Key
		for after := uint64(0); ; after = page[len(page)-1].Seq {
			if page = page[:0]; sink == "" {
				page = s.Held(after, keysAtOnce, page)
			} else {
				page = s.Keys(sink, after, keysAtOnce, page)
			}
			if len(page) == 0 {
				return
			}
			for _, k := range page {
				if !yield(k) {
					return
				}
			}
		}
	}
}

// flags are what checks found in files that wait, by receipt.
func (d *Desk) flags(ctx context.Context) (map[string]string, error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := cat.Uploads(ctx, catalogue.UploadFilter{State: catalogue.StateWaiting, Flagged: true, Limit: catalogue.MaxLimit})
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(rows))
	for _, u := range rows {
		out[u.Receipt] = u.Flag
	}
	return out, nil
}
