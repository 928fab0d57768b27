package uploads

import (
	"context"
	"io"
)

// A Body is an upload's bytes, which may be read several times.
type Body interface {
	io.ReadSeeker
	io.ReaderAt
	io.Closer
}

// A Parcel is an upload with the means to read it.
type Parcel struct {
	Upload
	Open func() (Body, error)
}

// A Delivery is a sink's word on one parcel.
//
// Err is nil once the destination holds the file durably, matches [ErrRefused]
// if the destination will never take it, [ErrLoop] if the destination is part
// of a loop, and is anything else (perhaps a [RetryError]) if the file should be
// offered again. Custody is what the destination says of who has the file.
type Delivery struct {
	Err     error
	Custody []Custody
}

// A Sink is where uploads go next: a directory, an object store, a parent
// beacon. A repeat is harmless: a file that is already there is delivered.
type Sink interface {
	// Deliver hands over parcels of any devices and kinds and answers for each,
	// in order. It never returns fewer deliveries than parcels.
	Deliver(ctx context.Context, parcels []Parcel) []Delivery
	// Group is how many parcels the sink likes to get at once; 1 if it gains
	// nothing from more.
	Group() int
}
