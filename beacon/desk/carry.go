package desk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
)

// An Identity is what files that are carried by hand are told of a beacon.
type Identity struct {
	Name  string
	Kinds *uploads.Kinds // that it takes
}

var errNameless = errors.New("the beacon is not running, and its name is in its configuration: name that file with --config, or start the beacon")

// stoppedIdentity is that of a beacon that does not run. Without its configuration
// it is the one that it gave itself.
func stoppedIdentity(dir, file string) (id Identity, err error) {
	c, _, err := config.Load(config.Sources{File: file, Environ: os.Environ(), Flags: config.Flags{Data: dir}})
	if err != nil {
		return id, err
	}
	id = Identity{c.Name, c.UploadKinds()}
	if id.Name != "" {
		return id, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(config.NameFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return id, errNameless
	}
	if err != nil {
		return id, fmt.Errorf("read this beacon's name: %w", err)
	}
	id.Name = strings.TrimSpace(string(text))
	return id, nil
}

// told are lines of JSON that somebody reads as they come.
type told struct {
	mu sync.Mutex
	w  io.Writer
	// any says that something was told, after which an error has to be told, too.
	any bool
	// last is when it was told how far the work is.
	last time.Time
}

func (t *told) say(v any, flush bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.any = true
	if err := json.NewEncoder(t.w).Encode(v); err != nil {
		return err
	}
	if f, ok := t.w.(interface{ Flush() error }); ok && flush {
		return f.Flush()
	}
	return nil
}

// due reports whether it is time to tell again how far the work is.
func (t *told) due(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.last) < stepEvery {
		return false
	}
	t.last = now
	return true
}
