// Package datadir is the agent's data directory: who owns it at the moment, and
// the small files in state/ that outlive a process.
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"inventorybeacon/uploads/durablefile"
)

// Folders of a data directory.
const (
	Outbox = "outbox"
	Policy = "policy"
	Spool  = "spool"
	State  = "state"
	Log    = "log"
)

// folders are made with as few rights as their readers need: anybody may look at
// the status, and at what a collector left.
var folders = []struct {
	name string
	perm fs.FileMode
}{{Outbox, 0o755}, {Policy, 0o700}, {Spool, 0o700}, {State, 0o755}, {Log, 0o750}}

const (
	lockFile   = "lock"
	holderFile = State + "/holder.json"
	idFile     = State + "/agent-id"
)

// ErrHeld means another process owns the data directory.
var ErrHeld = errors.New("the data directory is in use")

// A Holder is the process that owns a data directory.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"` // for example "beacon-agent run"
	Since   time.Time `json:"since"`
}

// String names the holder for a person.
func (h Holder) String() string { return fmt.Sprintf("%s (process %d)", h.Command, h.PID) }

// A Dir is an owned data directory.
type Dir struct {
	Path string
	root *os.Root
	lock *flock.Flock
}

// Open makes the directory and its folders where they are missing, and owns it
// until Close. If another process does, the error matches [ErrHeld] and names it.
func Open(path, command string) (*Dir, error) {
	for _, f := range folders {
		if err := durablefile.MkdirAll(filepath.Join(path, f.name), f.perm); err != nil {
			return nil, fmt.Errorf("data directory: %w: give --data", err)
		}
	}
	lock := flock.New(filepath.Join(path, lockFile), flock.SetPermissions(0o600))
	got, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if !got {
		lock.Close()
		return nil, fmt.Errorf("%w by %s: %s", ErrHeld, holderName(path), path)
	}
	d := &Dir{Path: path, lock: lock}
	if d.root, err = os.OpenRoot(path); err == nil {
		err = d.take(command)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Dir) take(command string) error {
	if _, err := durablefile.Sweep(d.root, State); err != nil {
		return fmt.Errorf("sweep %s: %w", State, err)
	}
	return d.WriteJSON(holderFile, Holder{PID: os.Getpid(), Command: command, Since: time.Now().UTC().Truncate(time.Second)})
}

func holderName(path string) string {
	var h Holder
	b, err := os.ReadFile(filepath.Join(path, holderFile))
	if err != nil || json.Unmarshal(b, &h) != nil || h.PID == 0 {
		return "another process"
	}
	return h.String()
}

// Close gives the directory up.
func (d *Dir) Close() error {
	var errs []error
	if d.root != nil {
		if err := d.root.Remove(holderFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		errs = append(errs, d.root.Close())
	}
	return errors.Join(append(errs, d.lock.Close())...)
}

// Held says which process owns the directory at path; nil if none does.
func Held(path string) (*Holder, error) {
	if _, err := os.Stat(filepath.Join(path, lockFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	lock := flock.New(filepath.Join(path, lockFile), flock.SetFlag(os.O_RDONLY))
	got, err := lock.TryRLock()
	if err != nil {
		return nil, fmt.Errorf("look at the data directory's lock: %w", err)
	}
	defer lock.Close()
	if got {
		return nil, nil
	}
	h := &Holder{Command: "another process"}
	if b, err := os.ReadFile(filepath.Join(path, holderFile)); err == nil {
		if err := json.Unmarshal(b, h); err != nil {
			return nil, fmt.Errorf("%s: %w", holderFile, err)
		}
	}
	return h, nil
}

// Join returns the path of something in the directory.
func (d *Dir) Join(elem ...string) string {
	return filepath.Join(append([]string{d.Path}, elem...)...)
}

// WriteJSON replaces a file, durably and at once.
func (d *Dir) WriteJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := durablefile.Replace(d.root, name, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// ReadJSON reads a file into v, which is untouched if there is none.
func (d *Dir) ReadJSON(name string, v any) error {
	b, err := d.root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

var idForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// AgentID returns the 128 random bits, as hex, that tell this installation from
// every other, making them the first time. A damaged file gets a new id: it
// proves nothing until enrolment does.
func (d *Dir) AgentID() (string, error) {
	b, err := d.root.ReadFile(idFile)
	if id := strings.TrimSpace(string(b)); err == nil && idForm.MatchString(id) {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("agent id: %w", err)
	}
	var raw [16]byte
	rand.Read(raw[:])
	id := hex.EncodeToString(raw[:])
	if err := durablefile.Replace(d.root, idFile, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("agent id: %w", err)
	}
	return id, nil
}
