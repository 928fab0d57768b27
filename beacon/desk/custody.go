package desk

import (
	"context"
	"encoding/json"
	"fmt"

	"inventorybeacon/beacon/signing"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
)

// A ShownUpload is an upload with its receipt as the beacon would give it now.
type ShownUpload struct {
	catalogue.Upload
	// Custody is who has the file by now; empty if it was lost.
	Custody []uploads.Custody `json:"custody"`
	// Signed is the signed receipt; nil if there is none, because the file was
	// lost or its receipt is older than receipts are kept.
	Signed *SignedReceipt `json:"signed,omitempty"`
}

// A SignedReceipt is a receipt in the very bytes that the signature is over.
type SignedReceipt struct {
	Body      string `json:"body"`
	Signature []byte `json:"signature"` // 64 bytes, in base64 as JSON
}

// ShowUpload asks for all that is known of one upload.
var ShowUpload = Call[string, ShownUpload]{"uploads.show", (*Desk).showUpload}

func (d *Desk) showUpload(ctx context.Context, receipt string) (out ShownUpload, err error) {
	if out.Upload, err = d.oneUpload(ctx, receipt); err != nil {
		return out, err
	}
	out.Custody = []uploads.Custody{}
	s, err := d.spool()
	if err != nil {
		return out, err
	}
	name, err := uploads.ParseName(out.Name)
	if err != nil {
		return out, nil // damage left no more of it than its number
	}
	r, ok := s.FindExact(out.Kind, name, out.SHA256)
	if !ok {
		return out, nil
	}
	out.Custody = r.Custody
	key, err := d.signer()
	if err != nil {
		return out, err
	}
	out.Signed, err = sign(key, r)
	return out, err
}

func sign(key *signing.Key, r uploads.Receipt) (*SignedReceipt, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write receipt: %w", err)
	}
	return &SignedReceipt{string(body), key.Sign(body)}, nil
}
