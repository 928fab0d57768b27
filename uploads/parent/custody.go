package parent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/stall"
)

// Receipt asks a location for its receipt for these very bytes under this name,
// with the custody they have reached by now. Of u only kind, name and digest
// count. The error matches [uploads.ErrUnknown] if the location issued none:
// then the file is unknown there, which does not say that it is lost.
func (c *Client) Receipt(ctx context.Context, at Location, u uploads.Upload) (uploads.Receipt, error) {
	ctx, watch := stall.New(ctx, c.limits())
	defer watch.Stop()
	req, err := c.request(ctx, http.MethodGet, at, u)
	if err != nil {
		return uploads.Receipt{}, err
	}
	req.URL.RawQuery = "sha256=" + u.Digest.String()
	resp, err := c.client().Do(req)
	if err != nil {
		return uploads.Receipt{}, stall.Cause(ctx, err)
	}
	defer resp.Body.Close()
	watch.Moved()
	r, err := receiptIn(resp, at, u)
	switch answer, _ := errors.AsType[*AnswerError](err); {
	case answer != nil && answer.Code == problem.NotFound:
		return r, fmt.Errorf("%w: %w", uploads.ErrUnknown, err)
	case answer != nil && answer.Code == problem.MethodNotAllowed:
		return c.implied(ctx, at, u)
	}
	return r, err
}

// implied asks a beacon that is too old to give receipts whether it has a file.
func (c *Client) implied(ctx context.Context, at Location, u uploads.Upload) (uploads.Receipt, error) {
	held, err := c.Held(ctx, at, u)
	if err == nil && !held {
		err = fmt.Errorf("%w at %s", uploads.ErrUnknown, at.Name)
	}
	if err != nil {
		return uploads.Receipt{}, err
	}
	return Implied(at, u, time.Now()), nil
}

// Reached asks the locations, best first, who holds a file by now, and returns
// it as it counts here. The first that has a receipt for it settles the matter.
// The error matches [uploads.ErrUnknown] if those that answered have none; the
// one that has may be among those that did not.
func (s *Sink) Reached(ctx context.Context, u uploads.Upload) ([]uploads.Custody, error) {
	var failed, unknown error
	for _, at := range s.Locations.Order(ctx) {
		r, err := s.Client.Receipt(ctx, at, u)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, uploads.ErrUnknown):
			s.report(at, nil)
			unknown = err
			continue
		}
		s.report(at, err)
		if err == nil {
			return s.custody(r), nil
		}
		failed = errors.Join(failed, err)
		if settled(err) {
			break
		}
	}
	switch {
	case unknown != nil:
		return nil, unknown
	case failed != nil:
		return nil, fmt.Errorf("ask for custody: %w", failed)
	}
	return nil, ErrNowhere
}
