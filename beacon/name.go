package beacon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

const nameFile = config.NameFile

// Name is the beacon's identity in receipts and on the way up.
func (b *Beacon) Name() string { return b.name }

// openName takes the configured identity, else the one this data directory was
// given when it was new. The host's name alone would not do: two beacons of one
// name that relay to each other look like a loop.
func (b *Beacon) openName(context.Context) error {
	if b.name = b.config.Name; b.name != "" {
		return nil
	}
	root, err := os.OpenRoot(b.config.Data)
	if err != nil {
		return fmt.Errorf("name this beacon: %w", err)
	}
	defer root.Close()
	text, err := root.ReadFile(nameFile)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(newName() + "\n")
		err = durablefile.Write(root, nameFile, text, 0o644)
	}
	b.name = strings.TrimSpace(string(text))
	if err == nil {
		_, err = uploads.ParseName(b.name)
	}
	if err != nil {
		return fmt.Errorf("name this beacon: %s: %w", path.Join(b.config.Data, nameFile), err)
	}
	return nil
}

// newName is the host's name with six random characters: enough for the beacons
// of one centre to differ, few enough to read out.
func newName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "beacon"
	}
	return uploads.EscapeDevice(host) + "-" + strings.ToLower(rand.Text()[:6])
}
