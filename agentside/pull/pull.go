// Package pull fetches the policy of a device from beacons, through the
// classic tree: the policy (.npl) lists catalogues (.osd), each of which names
// a body (.nds) and its SHA-256. A policy is taken whole or not at all: when
// every digest fits, every document can be read and it is not older than the
// one in force. The last good one is kept on disk.
package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"inventorybeacon/failover"
	"inventorybeacon/policy"
	"inventorybeacon/policy/wire"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/problem"
)

// Errors that callers act on. Anything else is the network's: try again.
var (
	// ErrNoPolicy means the beacon says that no bundle applies to this device.
	ErrNoPolicy = errors.New("no bundle applies to this device")
	// ErrRefused means what was offered is not what its digests say, or cannot be
	// read; nothing of it was applied.
	ErrRefused = errors.New("policy refused")
	// ErrOlder means a beacon offers an older revision than the one in force.
	ErrOlder = errors.New("older than the policy in force")
	// ErrPublisher means a beacon offers another publisher's policy.
	ErrPublisher = errors.New("policy of another publisher")
)

// Limits of what is read. A larger one lets a bad beacon take more memory; a
// smaller one refuses an honest large policy.
const (
	maxPolicyBytes    = 1 << 20
	maxCatalogueBytes = 256 << 10
	maxBodyBytes      = 8 << 20
	maxPackages       = 200
)

// A Document is one file of the tree, as it was served.
type Document struct {
	Path   string         `json:"path"` // below the download root, decoded
	ETag   string         `json:"etag,omitempty"`
	SHA256 uploads.Digest `json:"sha256"`
	Body   []byte         `json:"-"`
}

// A Client fetches from any location.
type Client struct {
	HTTP     *http.Client
	Device   uploads.Device
	OS, Arch string
	Log      *slog.Logger // is told, at debug level, of every document that was asked for
}

// Path is where a device's policy is below a download root. The device is
// called there as in the names of the files it sends.
func (c *Client) Path() string {
	return "Policies/Merged/" + c.Device.Domain + "_domain/Machine/" + uploads.EscapeDevice(c.Device.Name) + ".npl"
}

// query tells the beacon what our agent may be offered.
func (c *Client) query() string {
	return url.Values{"agent": {"1"}, "os": {c.OS}, "arch": {c.Arch}}.Encode()
}

// Fetch asks at for the policy, given the one that is in force, which may be
// nil. It returns held itself if there is nothing newer. What it returns has
// been verified.
func (c *Client) Fetch(ctx context.Context, at failover.Location, held *Policy, answered func()) (*Policy, error) {
	f := &fetch{client: c, at: at, held: held, answered: answered}
	top, fresh, err := f.get(ctx, Document{Path: c.Path()}, c.query(), maxPolicyBytes)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if !fresh {
		return held, nil
	}
	list, err := wire.ReadPolicy(top.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: is there a proxy or portal in between? %w", ErrRefused, err)
	}
	if err := admissible(list.Revision, held); err != nil {
		return nil, err
	}
	p := &Policy{Revision: list.Revision, Digest: top.SHA256, From: at.Name, Taken: time.Now().UTC().Truncate(time.Second), Documents: []Document{top}}
	if len(list.Packages) > maxPackages {
		return nil, fmt.Errorf("%w: it lists %d packages; %d are allowed", ErrRefused, len(list.Packages), maxPackages)
	}
	for _, pack := range list.Packages {
		if err := f.pack(ctx, p, pack); err != nil {
			return nil, err
		}
	}
	if err := p.read(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return p, nil
}

// admissible says whether a policy of revision r may follow the held one.
func admissible(r policy.Revision, held *Policy) error {
	if held == nil || held.Revision.IsZero() {
		return nil
	}
	switch h := held.Revision; {
	case r.Publisher != h.Publisher:
		return fmt.Errorf("%w: %q publishes it, this agent follows %q", ErrPublisher, r.Publisher, h.Publisher)
	case h.After(r):
		return fmt.Errorf("%w: revision %v, in force is %v", ErrOlder, r, h)
	}
	return nil
}

// fetch is one attempt at one location.
type fetch struct {
	client   *Client
	at       failover.Location
	held     *Policy
	answered func()
}

// pack fetches one package's catalogue and body.
func (f *fetch) pack(ctx context.Context, p *Policy, pack wire.Package) error {
	path, err := wire.Path(pack.Href)
	if err != nil {
		return fmt.Errorf("%w: package: %w", ErrRefused, err)
	}
	if !wanted(pack.Folder()) {
		p.warn("package %s is of a sort this agent does not take: ignored", path)
		return nil
	}
	osd, err := f.document(ctx, path, pack.SHA256, maxCatalogueBytes)
	if err != nil {
		return fmt.Errorf("catalogue %s: %w", path, err)
	}
	catalogue, err := wire.ReadCatalogue(osd.Body)
	if err != nil {
		return fmt.Errorf("%w: catalogue %s: %w", ErrRefused, path, err)
	}
	if catalogue.SHA256 == "" {
		return fmt.Errorf("%w: catalogue %s gives no SHA-256 for its body", ErrRefused, path)
	}
	at, err := bodyPath(path, catalogue.Href)
	if err != nil {
		return fmt.Errorf("%w: catalogue %s: %w", ErrRefused, path, err)
	}
	body, err := f.document(ctx, at, catalogue.SHA256, maxBodyBytes)
	if err != nil {
		return fmt.Errorf("body %s: %w", at, err)
	}
	p.Documents = append(p.Documents, osd, body)
	return nil
}

// wanted reports whether packages of a top-level folder say something that
// this agent does. Upgrades are not among it.
func wanted(folder string) bool {
	switch folder {
	case "Schedules", "ClientSettings", "ClientConfiguration", "InventorySettingsConfiguration":
		return true
	}
	return false
}

// bodyPath resolves a catalogue's pointer: below the download root, or beside
// the catalogue if it is a bare name.
func bodyPath(osd, href string) (string, error) {
	if href == "" {
		return "", errors.New("it names no body")
	}
	path, err := wire.Path(href)
	if err != nil {
		return "", err
	}
	if !strings.Contains(href, "/") {
		path = osd[:strings.LastIndexByte(osd, '/')+1] + path
	}
	return path, nil
}

// document returns the file at path with the given digest, from what is held
// if it is there. An empty digest fits whatever is served.
func (f *fetch) document(ctx context.Context, path, digest string, limit int64) (Document, error) {
	want := Document{Path: path}
	if digest != "" {
		var err error
		if want.SHA256, err = uploads.ParseDigest(digest); err != nil {
			return Document{}, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if have, ok := f.held.document(path); ok && have.SHA256 == want.SHA256 {
			return have, nil
		}
	}
	got, fresh, err := f.get(ctx, want, "", limit)
	switch {
	case errors.Is(err, ErrNoPolicy): // of a policy there is, only this file is missing
		return Document{}, fmt.Errorf("%w: the beacon does not have it", ErrRefused)
	case err == nil && !fresh:
		got, _ = f.held.document(path)
	}
	return got, err
}

// get makes one conditional request. It reports false if what is held is what
// the location has.
func (f *fetch) get(ctx context.Context, want Document, query string, limit int64) (Document, bool, error) {
	root, err := url.Parse(f.at.Download)
	if err != nil {
		return Document{}, false, err
	}
	address := root.JoinPath(escape(want.Path))
	address.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return Document{}, false, err
	}
	have, conditional := f.held.document(want.Path)
	if conditional = conditional && have.ETag != "" && want.SHA256.IsZero(); conditional {
		req.Header.Set("If-None-Match", have.ETag)
	}
	resp, err := f.client.HTTP.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // the address is long, and the location is named already
	}
	if err != nil {
		return Document{}, false, err
	}
	defer resp.Body.Close()
	f.answered()
	switch {
	case resp.StatusCode == http.StatusNotModified && conditional:
		f.log(ctx, "document unchanged", resp, Document{Path: have.Path, SHA256: have.SHA256})
		return Document{}, false, nil
	case resp.StatusCode != http.StatusOK:
		f.log(ctx, "document not served", resp, want)
		return Document{}, false, refusal(resp)
	}
	got := Document{Path: want.Path, ETag: resp.Header.Get("ETag")}
	if got.Body, err = body(resp, limit); err != nil {
		return Document{}, false, err
	}
	got.SHA256 = uploads.DigestOf(got.Body)
	f.log(ctx, "document fetched", resp, got)
	if !want.SHA256.IsZero() && want.SHA256 != got.SHA256 {
		return Document{}, false, fmt.Errorf("%w: its SHA-256 is %v, want %v", ErrRefused, got.SHA256, want.SHA256)
	}
	return got, true, nil
}

// log tells how a location answered when it was asked for d.
func (f *fetch) log(ctx context.Context, what string, resp *http.Response, d Document) {
	attrs := []slog.Attr{slog.String("path", d.Path), slog.Int("status", resp.StatusCode), slog.Int("bytes", len(d.Body))}
	if !d.SHA256.IsZero() {
		attrs = append(attrs, slog.String("sha256", d.SHA256.String()))
	}
	f.client.Log.LogAttrs(ctx, slog.LevelDebug, what, attrs...)
}

// body reads an answer whole; one that ends early is an error.
func body(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes; %d are allowed", ErrRefused, resp.ContentLength, limit)
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrRefused, limit)
	}
	return b.Bytes(), nil
}

// escape percent-encodes a path, the plus too, which some servers read as a space.
func escape(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.PathEscape(s), "+", "%2B")
	}
	return strings.Join(segments, "/")
}

// refusal turns any other answer into an error. Only a problem document with
// one of our codes is a verdict; whatever else it is comes from somebody in between.
func refusal(resp *http.Response) error {
	after, asked := problem.RetryAfter(resp.Header, time.Now())
	var err error
	switch d, ours := problem.Read(resp); {
	case ours && d.Code == problem.NotFound:
		return fmt.Errorf("%w: %w", ErrNoPolicy, d)
	case ours:
		err = d
		after = min(after, maxRetryAfter)
	case resp.StatusCode/100 == 3:
		err = fmt.Errorf("answered %d: a redirect is not followed: use the final address", resp.StatusCode)
		after = min(after, MaxWait)
	default:
		err = fmt.Errorf("answered %d, and not as a beacon does: is there a proxy or portal in between?", resp.StatusCode)
		after = min(after, MaxWait)
	}
	if asked {
		return &uploads.RetryError{After: after, Err: err}
	}
	return err
}
