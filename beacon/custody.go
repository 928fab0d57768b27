package beacon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"inventorybeacon/beacon/signing"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
)

// A Signer makes the signature that stands on a receipt.
type Signer interface{ Sign([]byte) []byte }

// receipt answers, for exactly the bytes that ?sha256= names, with the receipt
// and the custody reached by now, signed. Without the digest an upload cannot be
// read here.
func (a *Agents) receipt(w http.ResponseWriter, r *http.Request) error {
	kind, name, err := a.place(r)
	if err != nil {
		return err
	}
	hex := r.URL.Query().Get("sha256")
	if hex == "" {
		return &verdict{err: fmt.Errorf("%w: give ?sha256= of the bytes to read their receipt; the bytes cannot be read here", errMethod), allow: "HEAD, PUT"}
	}
	d, err := uploads.ParseDigest(hex)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	receipt, held := a.Spool.FindExact(kind.Folder, name, d)
	if !held {
		return errNotHeld
	}
	if a.Wanted != nil {
		a.Wanted(custody.File{Kind: kind.Folder, Name: name, Digest: d}, receipt.Custody)
	}
	a.contacted(r)
	body, err := json.Marshal(receipt)
	if err != nil {
		return fmt.Errorf("write receipt: %w", err)
	}
	a.Metrics.receiptsSigned.Inc()
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Content-Type"] = contentJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h[signing.Header] = []string{signing.Encode(a.Signer.Sign(body))}
	w.WriteHeader(http.StatusOK)
	w.Write(body) // whoever asked and is gone will ask again
	return nil
}
