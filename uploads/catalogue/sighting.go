package catalogue

import (
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/contact"
)

// An Act is what a request was for, as far as the catalogue cares.
type Act uint8

const (
	ActOther  Act = iota // anything that only proves the device is there
	ActPolicy            // a download of a device's policy
	ActUpload            // a PUT of a file
)

// A Sighting is one request in which a device, or at least an address, showed
// itself.
type Sighting struct {
	At time.Time
	// Device is whom the path, the file name or the header names; zero if none does.
	Device uploads.Device
	// Peer is the address it came from, without a port.
	Peer string
	// Contact is what the Beacon-Agent header said.
	Contact contact.Contact

	Act    Act
	Status int    // the answer's
	Code   string // of the problem document, if one was the answer
	What   string // the path or the file name; shortened as needed
}
