package inventory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	dpkgStatus = "/var/lib/dpkg/status"
	// dpkgUpdates holds what dpkg has changed since it last wrote the status
	// file, in numbered files, each newer than the one before.
	dpkgUpdates = "/var/lib/dpkg/updates"
	// dpkgStatusDir is where images without dpkg keep one file per package.
	dpkgStatusDir = "/var/lib/dpkg/status.d"

	// maxStatusLine is the longest line looked at; what is longer is cut. The
	// fields read here are far shorter.
	maxStatusLine = 64 << 10
)

// collectDpkg reads dpkg's own database, so that it needs neither the command
// nor its lock. Packages of which only configuration is left are not installed.
func collectDpkg(ctx context.Context, h Host) (Findings, error) {
	db := dpkgDatabase{packages: map[dpkgKey]Package{}}
	files, err := dpkgFiles(h)
	if err != nil {
		return Findings{}, err
	}
	var errs []error
	for _, name := range files {
		if err := context.Cause(ctx); err != nil {
			return Findings{}, err
		}
		if err := db.readFile(name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return db.findings(), errors.Join(errs...)
}

// dpkgFiles lists the database's files, oldest word first.
func dpkgFiles(h Host) (files []string, err error) {
	for _, source := range []string{dpkgStatus, dpkgStatusDir, dpkgUpdates} {
		st, err := os.Stat(h.path(source))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case !st.IsDir():
			files = append(files, h.path(source))
			continue
		}
		entries, err := os.ReadDir(h.path(source)) // sorted by name
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			// Beside the packages lie their md5sums, and dpkg's unfinished tmp.i.
			if e.Type().IsRegular() && !strings.HasSuffix(e.Name(), ".md5sums") && e.Name() != "tmp.i" {
				files = append(files, filepath.Join(h.path(source), e.Name()))
			}
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("dpkg: %w", ErrAbsent)
	}
	return files, nil
}

type dpkgKey struct{ name, arch string }

type dpkgDatabase struct{ packages map[dpkgKey]Package }

func (db *dpkgDatabase) findings() (f Findings) {
	for _, p := range db.packages {
		f.Packages = append(f.Packages, p)
	}
	return f
}

func (db *dpkgDatabase) readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return db.read(f)
}

// read takes in the paragraphs of a status file. It reads on behind a
// paragraph that names no package, and then returns an error.
func (db *dpkgDatabase) read(r io.Reader) error {
	lines := bufio.NewReaderSize(r, maxStatusLine)
	fields := map[string]string{}
	var bad error
	for n := 1; ; n++ {
		line, err := readLine(lines)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		switch text := bytes.TrimSpace(line); {
		case len(text) == 0:
			if err := db.take(fields); err != nil && bad == nil {
				bad = fmt.Errorf("paragraph before line %d: %w", n, err)
			}
			clear(fields)
		case line[0] != ' ' && line[0] != '\t' && line[0] != '#': // else a continuation or a comment
			name, value, _ := bytes.Cut(text, []byte(":"))
			if name := strings.ToLower(string(name)); dpkgFields[name] {
				fields[name] = string(bytes.TrimSpace(value))
			}
		}
		if end && len(line) == 0 {
			return bad
		}
	}
}

// dpkgFields are the fields that are used, by lower-case name.
var dpkgFields = map[string]bool{
	"package": true, "status": true, "architecture": true, "version": true, "maintainer": true, "installed-size": true,
}

// readLine returns a line, cut at the reader's size; io.EOF comes with an empty
// line only.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line = bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	return line, err
}

// take enters what a paragraph says, which replaces what an earlier one said.
func (db *dpkgDatabase) take(fields map[string]string) error {
	if len(fields) == 0 {
		return nil
	}
	name, _, _ := strings.Cut(fields["package"], ":")
	if name == "" {
		return errors.New("no package is named")
	}
	key := dpkgKey{name, fields["architecture"]}
	state, installed, err := dpkgState(fields["status"])
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !installed {
		delete(db.packages, key)
		return nil
	}
	p := Package{
		Name: name, Version: fields["version"], Architecture: key.arch, Vendor: fields["maintainer"],
		State: state, Evidence: "dpkg database",
	}
	if kib, err := strconv.ParseUint(fields["installed-size"], 10, 50); err == nil {
		p.Size = strconv.FormatUint(kib<<10, 10)
	}
	db.packages[key] = p
	return nil
}

// dpkgState reads a Status field, "want flag status", and returns what is out
// of the ordinary about an installed package. Without the field, as in
// status.d, a package is installed.
func dpkgState(status string) (state string, installed bool, err error) {
	if status == "" {
		return "", true, nil
	}
	words := strings.Fields(status)
	if len(words) != 3 {
		return "", false, fmt.Errorf("status %q is not three words", status)
	}
	want, actual := words[0], words[2]
	switch actual {
	case "not-installed", "config-files":
		return "", false, nil
	case "installed":
	default: // unpacked, half-configured, …: its files are there
		state = actual
	}
	if want == "hold" {
		state = strings.TrimSpace(want + " " + state)
	}
	return state, true, nil
}
