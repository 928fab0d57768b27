package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// LoadExpected reads the list of a data directory; there may be none.
func LoadExpected(file string) ([]uploads.Device, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read expected devices: %w", err)
	}
	devices, err := ParseExpected(text)
	if err != nil {
		return nil, fmt.Errorf("read expected devices: %s: %w: run `beacon agents expect` again", file, err)
	}
	return devices, nil
}

// SaveExpected replaces the list of a data directory; it is durable on return.
func SaveExpected(file string, devices []uploads.Device) error {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("write expected devices: %w", err)
	}
	defer root.Close()
	if err := durablefile.Replace(root, filepath.Base(file), FormatExpected(devices), 0o600); err != nil {
		return fmt.Errorf("write expected devices: %w", err)
	}
	return nil
}

// JoinExpected adds devices to a list that are not in it.
func JoinExpected(list, more []uploads.Device) []uploads.Device {
	known := map[uploads.Device]bool{}
	for _, d := range list {
		known[d.Key()] = true
	}
	for _, d := range more {
		if !known[d.Key()] {
			list = append(list, d)
		}
	}
	return list
}
