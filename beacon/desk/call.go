// Package desk answers an operator's questions and does what an operator asks:
// for a running beacon through its control socket, on the data directory of a
// stopped one directly. Both ways lead to the same functions.
package desk

import (
	"context"
	"errors"
	"io"

	"inventorybeacon/beacon/control"
)

// A Call is one thing that can be asked for, with what it takes and answers.
type Call[In, Out any] struct {
	name string
	do   func(*Desk, context.Context, In) (Out, error)
}

// Ask makes the call on a data directory: of the beacon that runs there, else
// on the files it left.
func (c Call[In, Out]) Ask(ctx context.Context, dir string, in In) (Out, error) {
	out, err := control.Call[In, Out](ctx, control.NewClient(dir), c.name, in)
	if !errors.Is(err, control.ErrNotRunning) {
		return out, err
	}
	d, err := openStopped(dir)
	if err != nil {
		return out, err
	}
	out, err = c.do(d, ctx, in)
	return out, errors.Join(err, d.close())
}

func (c Call[In, Out]) register(s *control.Server, d *Desk) {
	control.Handle(s, c.name, func(ctx context.Context, in In) (Out, error) { return c.do(d, ctx, in) })
}

// A Stream is a call whose answer is bytes.
type Stream[In any] struct {
	name string
	do   func(*Desk, context.Context, In, io.Writer) error
}

// Ask makes the call and copies the answer to w. An error means that what was
// copied is not all.
func (s Stream[In]) Ask(ctx context.Context, dir string, in In, w io.Writer) error {
	body, err := control.NewClient(dir).Open(ctx, s.name, in)
	if err == nil {
		defer body.Close()
		_, err = io.Copy(w, body)
		return err
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	d, err := openStopped(dir)
	if err != nil {
		return err
	}
	return errors.Join(s.do(d, ctx, in, w), d.close())
}

func (s Stream[In]) register(srv *control.Server, d *Desk) {
	control.Stream(srv, s.name, func(ctx context.Context, in In, w io.Writer) error { return s.do(d, ctx, in, w) })
}

// Register makes every call available on a control socket.
func (d *Desk) Register(s *control.Server) {
	ListUploads.register(s, d)
	ShowUpload.register(s, d)
	CatUpload.register(s, d)
	ListLosses.register(s, d)
	ReindexUploads.register(s, d)
	ExportUploads.register(s, d)
	ImportUploads.register(s, d)
	RequeueUploads.register(s, d)
	ListQuarantine.register(s, d)
	ShowQuarantined.register(s, d)
	ReleaseQuarantined.register(s, d)
	DropQuarantined.register(s, d)
	ListAgents.register(s, d)
	ShowAgent.register(s, d)
	ExpectAgents.register(s, d)
	LateAgents.register(s, d)
	TraceDevice.register(s, d)
	Publish.register(s, d)
	Withdraw.register(s, d)
	ShowPolicy.register(s, d)
	PolicyHistory.register(s, d)
	ExportPolicy.register(s, d)
	ImportPolicy.register(s, d)
	GetStatus.register(s, d)
}
