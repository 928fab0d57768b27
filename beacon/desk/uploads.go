package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
)

// The calls about uploads and the devices they came from.
var (
	ListUploads = Call[catalogue.UploadFilter, []catalogue.Upload]{"uploads.list", (*Desk).listUploads}
	CatUpload   = Stream[string]{"uploads.cat", (*Desk).catUpload}
	ListAgents  = Call[catalogue.DeviceFilter, []catalogue.Device]{"agents.list", (*Desk).listAgents}
	ShowAgent   = Call[string, []catalogue.Device]{"agents.show", (*Desk).showAgent}
	TraceDevice = Call[string, Traced]{"trace", (*Desk).trace}
)

// Traced is all that is known of a device, the verdict first.
type Traced struct {
	Verdict catalogue.Verdict `json:"verdict"`
	catalogue.Trace
}

func (d *Desk) listUploads(ctx context.Context, in catalogue.UploadFilter) ([]catalogue.Upload, error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	return cat.Uploads(ctx, in)
}

func (d *Desk) oneUpload(ctx context.Context, receipt string) (catalogue.Upload, error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return catalogue.Upload{}, err
	}
	u, err := cat.Upload(ctx, receipt)
	if err != nil {
		return u, fmt.Errorf("receipt %q: %w: run `beacon uploads list` to see what is here", receipt, err)
	}
	return u, nil
}

func (d *Desk) catUpload(ctx context.Context, receipt string, w io.Writer) error {
	body, err := d.bytes(ctx, receipt)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

// bytes opens those of an upload, also of one that is kept and no longer listed.
func (d *Desk) bytes(ctx context.Context, receipt string) (uploads.Body, error) {
	u, err := d.oneUpload(ctx, receipt)
	if err != nil {
		if body, kerr := d.copied(receipt); kerr == nil {
			return body, nil
		}
		return nil, err
	}
	body, err := d.body(u)
	if errors.Is(err, uploads.ErrUnknown) {
		if body, kerr := d.copied(u.Receipt); kerr == nil {
			return body, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s is %s and its bytes are no longer here: %w", u.Name, u.State, err)
	}
	return body, nil
}

// body opens the bytes of an upload that waits or lies in quarantine.
func (d *Desk) body(u catalogue.Upload) (uploads.Body, error) {
	if u.State == catalogue.StateQuarantined {
		q, err := d.refused()
		if err != nil {
			return nil, err
		}
		return q.Body(u.Receipt)
	}
	s, err := d.spool()
	if err != nil {
		return nil, err
	}
	return s.Body(u.Seq)
}

// copied opens the bytes of a copy.
func (d *Desk) copied(receipt string) (uploads.Body, error) {
	copies, err := d.kept()
	if err != nil {
		return nil, err
	}
	e, err := copies.Find(receipt)
	if err != nil {
		return nil, err
	}
	return copies.Body(e)
}

func (d *Desk) listAgents(ctx context.Context, in catalogue.DeviceFilter) ([]catalogue.Device, error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	return cat.Devices(ctx, in)
}

func (d *Desk) showAgent(ctx context.Context, name string) ([]catalogue.Device, error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	found, err := cat.Device(ctx, name)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no device %q has sent a file: `beacon trace %s` also looks among those that only polled", name, name)
	}
	return found, err
}

func (d *Desk) trace(ctx context.Context, name string) (out Traced, err error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return out, err
	}
	if out.Trace, err = cat.Trace(ctx, name); err != nil {
		return out, err
	}
	out.Verdict = out.Trace.Verdict(time.Now())
	return out, nil
}
