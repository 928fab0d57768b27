// Package resumable keeps uploads that arrive in parts until they are whole.
//
// An upload is two files in the spool's folder: its bytes so far, and its state,
// a log of what was promised. A promised offset is on disk twice when it is told:
// the bytes first, then the state that counts them. What lies behind the last
// promise counts for nothing when the store is opened again, since a power cut
// may have torn it.
//
//	Create -> Append ... Append -> Finish (the spool adopts the file)
//	                \-> End (cancelled, expired, invalid)
//
// One request at a time works on an upload: a [Session]. A new one ends the one
// before it, which the client has given up, else it would not send another.
package resumable

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk"
)

// Dir is the store's folder below the spool.
const Dir = "unfinished"

const (
	// MinAppend is the least that a request should bring that does not complete
	// its upload. A larger one makes each sync worth more; a smaller one lets bad
	// lines get on.
	MinAppend = 64 << 10
	// smallAppends is how often an upload may bring less nevertheless: a person
	// tries things out, and a bad line cuts early. Each costs two syncs.
	smallAppends = 128
	// syncEvery is how many bytes of one request may be unpromised. More make a
	// power cut cost a resend of more; fewer make long uploads wait for the disk.
	syncEvery = 8 << 20
	// idleBefore is how long an upload must have rested before another may take its
	// place. A shorter one lets a crowd push out senders that only wait to come
	// back; a longer one lets abandoned uploads keep honest ones out.
	idleBefore = 10 * time.Minute
	// maxDone bounds the uploads remembered after they are complete, and maxEnded
	// those of which only that they ended is remembered. One that is forgotten too
	// soon is "not found" to its sender, who then asks for the file itself.
	maxDone, maxEnded = 4096, 16384
)

// Errors that callers act on; [uploads.ErrFull], [uploads.ErrTooLarge] and
// [uploads.ErrUnknown] are the others. Anything else is I/O.
var (
	// ErrGone means that the upload was there and has ended without being whole.
	ErrGone = errors.New("this upload has ended")
	// ErrLength means that two statements about an upload's length differ, or
	// that it became longer than stated.
	ErrLength = errors.New("inconsistent length")
	// ErrSmall means too many requests that brought nearly nothing.
	ErrSmall = errors.New("too many small parts")
	// ErrOver means that another request has taken the upload over.
	ErrOver = errors.New("another request goes on with this upload")
)

// Options say how much a store may hold. Zero bounds mean none.
type Options struct {
	// MaxAge is how long an upload may take from its creation to its completion,
	// and how long a completed one is remembered.
	MaxAge time.Duration
	// Files and Bytes bound all uploads; a stated length counts from the beginning.
	Files int
	Bytes int64
	// Device and Child bound those of one [uploads.Upload.Source]: of a device, and
	// of a beacon that relays or all that have no device behind one address.
	Device, Child Share
	// Log defaults to discarding.
	Log *slog.Logger
	// Disk is the spool's folder and defaults to the operating system's.
	Disk disk.Disk
}

// A Share is how much one source may have unfinished. Zero bounds mean none.
type Share struct {
	Files int
	Bytes int64
}

// A Draft is what the creating request says of the whole file.
type Draft struct {
	spool.Draft
	// Wide is the SHA-512 that was announced, or nil.
	Wide []byte
}

// Source is who the upload counts against.
func (d *Draft) Source() string {
	return uploads.Upload{Via: d.Via, Device: d.Device, Peer: d.Peer}.Source()
}

// many reports whether more than one device may be behind the upload's source.
func (d *Draft) many() bool { return len(d.Via) > 0 || d.Device.IsZero() }

// A Status is how far an upload has got.
type Status struct {
	ID      string
	Draft   Draft // Length is -1 until it is known
	Offset  int64 // of the last promise
	Expires time.Time
	// Complete says that the spool has it, with these bytes.
	Complete bool
	Digest   uploads.Digest
	// LastFrom is where the request that completed it began.
	LastFrom int64
}

// Reasons why an upload ended without being complete.
const (
	EndExpired   = "expired"
	EndCancelled = "cancelled" // by its sender
	EndInvalid   = "invalid"   // it broke what was said of it
	EndEvicted   = "evicted"   // it rested, and others needed the room
	EndDamaged   = "damaged"   // the disk did not keep it
)

// Ends are all of them.
var Ends = []string{EndExpired, EndCancelled, EndInvalid, EndEvicted, EndDamaged}

// Stats are a store's numbers at one instant.
type Stats struct {
	Open   int   // unfinished
	Bytes  int64 // received of these
	Oldest time.Time
	Done   int // completed and remembered
	// Counters since Open.
	Created, Completed, Interrupted uint64
	Ended                           map[string]uint64 // by reason
}

// full refuses an upload for which there is no room now.
func full(format string, args ...any) error {
	return fmt.Errorf("%w: %s", uploads.ErrFull, fmt.Sprintf(format, args...))
}
