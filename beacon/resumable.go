package beacon

import (
	"context"
	"net/http"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/resumable"
	"inventorybeacon/uploads/resumable/partial"
	"inventorybeacon/uploads/spool"
)

// Resumption is what uploads in parts need. Without a Store there are none.
type Resumption struct {
	Store *resumable.Store
	// Adopt makes a whole file of the store an upload of the spool.
	Adopt func(ctx context.Context, d spool.Draft, file string) (uploads.Receipt, error)
	// Interim sends interim answers to clients that ask for them.
	Interim bool
}

// inParts reports whether a request means to be the first part of an upload.
func (a *Agents) inParts(r *http.Request) bool {
	_, asked := partial.ParseBool(r.Header[partial.Complete])
	return asked && a.Resumption.Store != nil
}

func (a *Agents) create(w http.ResponseWriter, r *http.Request, d spool.Draft) error {
	return errMethod
}
