package shelf

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"inventorybeacon/uploads/durablefile"
)

// cursorVersion is the format of the file. A cursor of another format says nothing.
const cursorVersion = 1

// A cursor is how far a store was read into an index.
type cursor struct {
	Version int    `json:"version"`
	Where   string `json:"where"`
	Index   int64  `json:"index"`
	// Settled is up to when, by the store's clock, everything was read.
	Settled time.Time `json:"settled,omitzero"`
}

func (s *Shelf) file(suffix string) string { return filepath.Join(s.o.Dir, s.o.Name+suffix) }

// load reads the cursor. Without it everything is read again, which changes nothing.
func (s *Shelf) load() {
	s.cursor = cursor{Version: cursorVersion, Where: s.o.Where}
	var c cursor
	text, err := os.ReadFile(s.file(".json"))
	if err == nil && json.Unmarshal(text, &c) == nil && c.Version == cursorVersion && c.Where == s.o.Where {
		s.cursor = c
	}
}

// save keeps the cursor. That it could not is no reason not to read.
func (s *Shelf) save() {
	text, err := json.MarshalIndent(s.cursor, "", "  ")
	if err == nil {
		err = s.replace(append(text, '\n'))
	}
	if err != nil {
		s.o.Log.Warn("how far fleet status was read is not kept: a restart reads it again", slog.String("store", s.o.Name), slog.Any("err", err))
	}
}

func (s *Shelf) replace(text []byte) error {
	root, err := os.OpenRoot(s.o.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return durablefile.Replace(root, filepath.Base(s.file(".json")), text, 0o600)
}

// follow begins anew for an index that was told nothing.
func (s *Shelf) follow(index int64) {
	if s.cursor.Index == index {
		return
	}
	s.cursor = cursor{Version: cursorVersion, Where: s.o.Where, Index: index}
	s.whole = time.Time{}
	clear(s.seen)
}

// settle moves the cursor behind what was seen of the whole, and forgets what it
// stands for.
func (s *Shelf) settle(newest, now time.Time) {
	s.whole = now
	if newest.IsZero() {
		return
	}
	if newest.After(now) { // the store's clock, or somebody's idea of it
		newest = now
	}
	if at := newest.Add(-overlap).UTC(); at.After(s.cursor.Settled) {
		s.cursor.Settled = at
	}
	for mark, put := range s.seen {
		if put < s.cursor.Settled.Unix() {
			delete(s.seen, mark)
		}
	}
	s.save()
}
