package beacon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/spool"
)

// place reads the kind and the name out of an upload's path: <Kind>/<file>, or
// <file> alone. Both obey the rules of names before they are looked up.
func (a *Agents) place(r *http.Request) (uploads.Kind, uploads.Name, error) {
	parts, err := segments(below(r))
	if err != nil {
		return uploads.Kind{}, uploads.Name{}, err
	}
	if len(parts) > 2 {
		return uploads.Kind{}, uploads.Name{}, fmt.Errorf("%w: an upload's path is <kind>/<file>", uploads.ErrBadName)
	}
	name, err := uploads.ParseName(lastOf(parts))
	if err != nil {
		return uploads.Kind{}, uploads.Name{}, err
	}
	folder := ""
	if len(parts) == 2 {
		n, err := uploads.ParseName(parts[0])
		if err != nil {
			return uploads.Kind{}, uploads.Name{}, fmt.Errorf("folder: %w", err)
		}
		folder = n.String()
	}
	kind, err := a.Kinds.For(folder, name)
	return kind, name, err
}

// put takes an upload, or begins one that comes in parts.
func (a *Agents) put(w http.ResponseWriter, r *http.Request) error {
	kind, name, err := a.place(r)
	if err != nil {
		return err
	}
	if err := framed(r); err != nil {
		return err
	}
	if a.inParts(r) {
		return a.create(w, r, kind, name)
	}
	d, err := a.draft(r, kind, name)
	if err != nil {
		return err
	}
	receipt, err := a.take(w, r, d)
	if err != nil {
		return err
	}
	return answerReceipt(w, receipt)
}

// take takes a whole upload. Everything that can be known before the body is decided
// before the body, which is also before a waiting sender is told to continue.
func (a *Agents) take(w http.ResponseWriter, r *http.Request, d spool.Draft) (none uploads.Receipt, err error) {
	wide, err := wideDigest(r.Header)
	if err != nil {
		return none, err
	}
	p, err := a.admit(r, d)
	if err != nil {
		return none, err
	}
	defer p.leave()
	b := a.newBody(w, r, p, wide)
	content, err := a.inspect(&d, b)
	if err != nil {
		return none, err
	}
	defer release(content)
	if err := p.claim(source(d)); err != nil {
		return none, err
	}
	receipt, err := a.Spool.Accept(r.Context(), d, content)
	a.health.note(b.err, err)
	if b.err != nil { // the sender's doing, whatever became of it further down
		err = b.err
	}
	if err != nil {
		return none, fmt.Errorf("accept %s/%s: %w", d.Kind, d.Name, err)
	}
	p.served()
	a.accepted(r, d, receipt)
	return receipt, nil
}

// accepted records that an upload got its receipt.
func (a *Agents) accepted(r *http.Request, d spool.Draft, receipt uploads.Receipt) {
	a.Metrics.accepted(receipt)
	s := a.sighting(r, d.Device, d.Kind+"/"+d.Name.String())
	s.Act, s.Status = catalogue.ActUpload, http.StatusOK
	a.see(r, s)
}

func answerReceipt(w http.ResponseWriter, receipt uploads.Receipt) error {
	if receipt.Custody == nil {
		receipt.Custody = []uploads.Custody{}
	}
	body, err := json.Marshal(receipt)
	if err != nil {
		return fmt.Errorf("write receipt: %w", err)
	}
	answerNow(w)
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Content-Type"] = contentJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(http.StatusOK)
	w.Write(body) // a sender that is gone will ask again
	return nil
}

// framed refuses requests whose body somebody else may read in another way.
func framed(r *http.Request) error {
	switch h := r.Header; {
	case len(h["Content-Encoding"]) > 0:
		return errEncoded
	case len(h["Content-Range"]) > 0:
		return fmt.Errorf("%w: an upload is sent whole, without Content-Range", errBadRequest)
	case r.ProtoMajor == 1 && r.ProtoMinor == 0 && len(h["Content-Length"]) == 0:
		return errNoLength
	}
	return nil
}

// draft gathers what the request says about its body.
func (a *Agents) draft(r *http.Request, kind uploads.Kind, name uploads.Name) (spool.Draft, error) {
	via, err := hop.ParseVia(r.Header[hop.ViaHeader])
	if err != nil {
		return spool.Draft{}, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	if hop.Looped(via, a.Name) {
		return spool.Draft{}, fmt.Errorf("%w: it passed %q", uploads.ErrLoop, via)
	}
	origin, err := hop.ParseOrigin(r.Header[hop.OriginHeader])
	if err != nil {
		return spool.Draft{}, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	want, err := wantDigest(r.Header)
	if err != nil {
		return spool.Draft{}, err
	}
	if len(via) == 0 {
		// An agent gives its true name; beacons pass on what they call it.
		origin.Device.Name = uploads.EscapeDevice(origin.Device.Name)
	}
	c := agentOf(r)
	d := spool.Draft{
		Kind: kind.Folder, Name: name, MaxBytes: kind.MaxBytes, Length: r.ContentLength, Want: want,
		Via: via, Peer: a.peer(r).String(), Device: origin.Device, AgentID: origin.AgentID,
		Modified: origin.Modified, Recovered: origin.Recovered,
	}
	if d.Device.IsZero() {
		d.Device = deviceOf(name, c)
	}
	if d.AgentID == "" && len(via) == 0 {
		d.AgentID = c.ID
	}
	return d, nil
}

// head says whether a file of that name, or with ?sha256= exactly these bytes,
// is held or was delivered.
func (a *Agents) head(w http.ResponseWriter, r *http.Request) error {
	kind, name, err := a.place(r)
	if err != nil {
		return err
	}
	var receipt uploads.Receipt
	var held bool
	if hex := r.URL.Query().Get("sha256"); hex != "" {
		d, err := uploads.ParseDigest(hex)
		if err != nil {
			return fmt.Errorf("%w: %w", errBadRequest, err)
		}
		if receipt, held = a.Spool.FindExact(kind.Folder, name, d); !held {
			return a.unfinished(r, kind, name, d)
		}
	} else {
		receipt, held = a.Spool.Find(kind.Folder, name)
	}
	if !held {
		return errNotHeld
	}
	a.contacted(r)
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Repr-Digest"] = []string{hop.FormatDigest(receipt.SHA256)}
	w.WriteHeader(http.StatusOK)
	return nil
}
