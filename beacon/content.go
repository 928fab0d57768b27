package beacon

import (
	"bufio"
	"io"
	"strings"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/document"
	"inventorybeacon/uploads/spool"
)

// inspect looks at the beginning of a body, before it is stored. If it shows that
// the file is bad, and its kind's rule is to refuse, that is the error. Else the
// draft gets the domain that an inventory itself gives its machine, where nothing
// else did: an old agent sends no header, and a file name has no domain. The
// reader returned still has all of the body.
func (a *Agents) inspect(d *spool.Draft, body io.Reader) (io.Reader, error) {
	refuse := a.Rules.For(uploads.Upload{Kind: d.Kind, Name: d.Name, AgentID: d.AgentID, Via: d.Via}) == content.Refuse
	placeless := !d.Device.IsZero() && d.Device.Domain == "" && d.Name.Ext() == ".ndi"
	if !refuse && !placeless {
		return body, nil
	}
	r := bufio.NewReaderSize(body, content.HeadBytes)
	head, err := r.Peek(content.HeadBytes) // an error comes again when the rest is read
	root, bad := content.Head(d.Name, head, err == io.EOF)
	switch {
	case bad != nil && refuse:
		return nil, bad
	case bad == nil && placeless:
		placed(d, root)
	}
	return r, nil
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
