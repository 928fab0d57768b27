package beacon

import (
	"bufio"
	"io"
	"strings"
	"sync"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/document"
	"inventorybeacon/uploads/spool"
)

// inspect looks at the beginning of a body, before it is stored. If it shows that
// the file is bad, and its kind's rule is to refuse, that is the error. Else the
// draft gets the domain that an inventory itself gives its machine, where nothing
// else did: an old agent sends no header, and a file name has no domain. The
// reader returned still has all of the body; it goes to release once it is read.
func (a *Agents) inspect(d *spool.Draft, body io.Reader) (io.Reader, error) {
	refuse := a.Rules.For(uploads.Upload{Kind: d.Kind, Name: d.Name, AgentID: d.AgentID, Via: d.Via}) == content.Refuse
	placeless := !d.Device.IsZero() && d.Device.Domain == "" && d.Name.Ext() == ".ndi"
	if !refuse && !placeless {
		return body, nil
	}
	r := heads.Get().(*bufio.Reader)
	r.Reset(body)
	root, bad := headOf(d.Name, r)
	switch {
	case bad != nil && refuse:
		release(r)
		return nil, bad
	case bad == nil && placeless:
		placed(d, root)
	}
	return r, nil
}

// headOf judges the beginning of a body: of as little as came with the request, if
// that is enough, since more costs every upload another read.
func headOf(name uploads.Name, r *bufio.Reader) (root document.Root, bad error) {
	for _, n := range []int{content.FewBytes, content.HeadBytes} {
		head, err := r.Peek(n) // an error comes again when the rest is read
		root, bad = content.Head(name, head, err == io.EOF)
		if bad != nil || root.Name != "" || err != nil {
			break
		}
	}
	return root, bad
}

// heads are 4 KiB each; one for each upload would keep the collector busy.
var heads = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, content.HeadBytes) }}

// release takes back a reader that inspect returned, if it was one of its own.
func release(r io.Reader) {
	if r, ok := r.(*bufio.Reader); ok {
		r.Reset(nil)
		heads.Put(r)
	}
}

// placed gives a device the domain that its inventory names, unless that speaks
// of another machine.
func placed(d *spool.Draft, root document.Root) {
	if !strings.EqualFold(uploads.EscapeDevice(root.Machine), d.Device.Name) {
		return
	}
	if domain, err := uploads.ParseName(root.Scope); err == nil {
		d.Device.Domain = domain.String()
	}
}
