package wire

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"inventorybeacon/policy"
)

// DownloadRoot is the macro that a device replaces by the download location
// it has chosen.
const DownloadRoot = "$(DownloadRootURL)/"

// A Policy is an .npl: the catalogues a device has to fetch.
type Policy struct {
	GUID     string // in braces; changes with the contents
	Packages []Package
	// Revision is written for our own agent only.
	Revision policy.Revision
}

// A Package is one line of a policy.
type Package struct {
	Href     string // as written: DownloadRoot and a percent-encoded path
	ObjectID string // the same for every version of the package
	// SHA256 of the catalogue, in hex. It is written for our own agent only.
	SHA256 string
}

// Href returns how a document names the file at p below the download root.
func Href(p string) string {
	return DownloadRoot + (&url.URL{Path: p}).EscapedPath()
}

// Path returns the decoded path below the download root that href names. It
// refuses what climbs, and what leads to another server.
func Path(href string) (string, error) {
	rest, ok := strings.CutPrefix(href, strings.TrimSuffix(DownloadRoot, "/"))
	if !ok {
		if u, err := url.Parse(href); err != nil || u.Scheme != "" || u.Host != "" || strings.HasPrefix(href, "$") {
			return "", fmt.Errorf("%w: %q is not below the download root", ErrSyntax, href)
		}
		rest = href
	}
	p, err := url.PathUnescape(strings.TrimLeft(rest, "/"))
	if err != nil || p == "" || strings.Contains(p, `\`) || path.Clean("/"+p) != "/"+p {
		return "", fmt.Errorf("%w: %q is not a path", ErrSyntax, href)
	}
	return p, nil
}

// Resolve returns the decoded path of what the catalogue at the path from
// calls href: below the download root, or beside the catalogue.
func Resolve(from, href string) (string, error) {
	p, err := Path(href)
	if err != nil || strings.HasPrefix(href, "$") || strings.HasPrefix(href, "/") {
		return p, err
	}
	return path.Join(path.Dir(from), p), nil
}

// Folder is the top-level folder of the catalogue, such as Schedules: it says
// what the package is. It is "" if Href does not lead below the download root.
func (p Package) Folder() string {
	at, err := Path(p.Href)
	if err != nil {
		return ""
	}
	top, _, _ := strings.Cut(at, "/")
	return top
}

// Bytes writes the document.
func (p Policy) Bytes() ([]byte, error) {
	w := newWriter(`Policy PUBLIC "Policy" "http://www.managesoft.com/policy.dtd"`)
	root := []string{"AppliesTo", "*", "Source", "ManageSoft", "Version", "0"}
	if r := p.Revision; !r.IsZero() {
		root = append(root, "Publisher", r.Publisher, "Epoch", strconv.FormatUint(r.Epoch, 10),
			"Revision", strconv.FormatUint(r.Number, 10), "Created", r.Created.UTC().Format(time.RFC3339))
	}
	w.open(0, "Policy", root...)
	w.open(1, "Policy", "GUID", p.GUID, "Source", "ManageSoft", "Version", "0")
	for _, k := range p.Packages {
		attrs := []string{"href", k.Href, "ObjectID", k.ObjectID, "Precedence", "0"}
		if k.SHA256 != "" {
			attrs = append(attrs, "SHA256", k.SHA256)
		}
		w.empty(2, "Package", attrs...)
	}
	w.close(1, "Policy")
	w.close(0, "Policy")
	return w.bytes()
}

// ReadPolicy reads an .npl.
func ReadPolicy(b []byte) (Policy, error) {
	root, err := parse(b)
	if err != nil {
		return Policy{}, err
	}
	if root.name != "policy" {
		return Policy{}, fmt.Errorf("%w: <%s> is not a policy", ErrSyntax, root.name)
	}
	p := Policy{Revision: readRevision(root)}
	root.all(func(e *element) {
		switch e.name {
		case "policy":
			if guid := e.attr("guid"); p.GUID == "" {
				p.GUID = guid
			}
		case "package":
			if href := e.attr("href"); href != "" {
				p.Packages = append(p.Packages, Package{Href: href, ObjectID: e.attr("objectid"), SHA256: strings.ToLower(e.attr("sha256"))})
			}
		}
	})
	return p, nil
}

// readRevision returns the zero Revision for a document that is not ours.
func readRevision(e *element) (r policy.Revision) {
	var err error
	if r.Number, err = strconv.ParseUint(e.attr("revision"), 10, 64); err != nil {
		return policy.Revision{}
	}
	if r.Epoch, err = strconv.ParseUint(e.attr("epoch"), 10, 64); err != nil {
		return policy.Revision{}
	}
	if r.Created, err = time.Parse(time.RFC3339, e.attr("created")); err != nil {
		return policy.Revision{}
	}
	r.Created = r.Created.UTC()
	r.Publisher = e.attr("publisher")
	return r
}
