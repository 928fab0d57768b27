package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// stateVersion is the format of the file that says how far has been told.
const stateVersion = 1

// ErrNewer means that a later version of this program wrote the state, which has
// not been touched.
var ErrNewer = errors.New("the ledger's state is newer than this program")

// A state is how far losses have been told.
type state struct {
	Version int `json:"version"`
	// Told is the number of the last loss that is in a report, and At when it was.
	Told uint64    `json:"told"`
	At   time.Time `json:"at,omitzero"`
	// Report is the last one, which may still have to be made.
	Report *report `json:"report,omitempty"`
}

// A report tells of the losses with numbers in (After, UpTo].
type report struct {
	Name  uploads.Name `json:"name"`
	After uint64       `json:"after"`
	UpTo  uint64       `json:"up_to"`
	// Accepted says that the spool has had it, with these bytes.
	Accepted bool           `json:"accepted"`
	SHA      uploads.Digest `json:"sha256"`
}

// load reads the state; there may be none yet.
func load(file string) (s state, err error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read %s: %w: if it is moved away, all losses that are known are told again", file, err)
	}
	if s.Version > stateVersion {
		return s, fmt.Errorf("read %s: %w: it has format %d, known is %d", file, ErrNewer, s.Version, stateVersion)
	}
	return s, nil
}

// save is durable on return.
func (s state) save(file string) error {
	s.Version = stateVersion
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer root.Close()
	return durablefile.Replace(root, filepath.Base(file), append(b, '\n'), 0o600)
}
