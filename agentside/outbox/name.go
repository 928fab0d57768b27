package outbox

import (
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"inventorybeacon/uploads"
)

// SentAs returns the name under which a file of the outbox is sent:
// "<device> at <mtime> (<stem>).<ext>", or its own if that already has this
// form and names this device.
func SentAs(device, file string, mtime time.Time) (uploads.Name, error) {
	file = norm.NFC.String(file)
	if n, err := uploads.ParseName(file); err == nil && names(n, device) {
		return n, nil
	}
	stem, ext := split(file)
	// A tag is what stands in the last parentheses: none may open inside it.
	n, err := uploads.FileName(device, mtime, strings.ReplaceAll(stem, " (", "_("), ext)
	if err != nil {
		return n, fmt.Errorf("it would be sent as %q: %w: rename it", uploads.EscapeDevice(device)+" at … ("+stem+")"+ext, err)
	}
	return n, nil
}

// names reports whether the name is in our form and this device's.
func names(n uploads.Name, device string) bool {
	p := n.Parts()
	return !p.At.IsZero() && strings.EqualFold(p.Device, uploads.EscapeDevice(device))
}

// split cuts a file name in front of its extension, to which a ".gz" belongs.
func split(file string) (stem, ext string) {
	stem = file
	if cut := len(file) - len(".gz"); cut > 0 && strings.EqualFold(file[cut:], ".gz") {
		stem = file[:cut]
	}
	stem = strings.TrimSuffix(stem, path.Ext(stem))
	if stem == "" {
		stem = file
	}
	return stem, file[len(stem):]
}
