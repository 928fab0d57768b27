package inventory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"
)

// The rpm database is read by the rpm command alone. Reading its files here
// would need SQLite, which the agent does not carry, and the parsers at hand
// for the older formats loop or crash the whole process on a damaged database.

// rpmDatabases are the files that say a machine has an rpm database: SQLite,
// ndb and Berkeley DB, where new and old systems keep them.
var rpmDatabases = []string{
	"/usr/lib/sysimage/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/Packages.db", "/usr/lib/sysimage/rpm/Packages",
	"/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages.db", "/var/lib/rpm/Packages",
}

// rpmFormat prints a line per package. The vendor is free text and so is last.
const rpmFormat = `%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\t%{INSTALLTIME}\t%{LONGSIZE}\t%{VENDOR}\n`

const (
	// maxRPMLine bounds a line of rpm's answer.
	maxRPMLine = 64 << 10
	// maxRPMStderr is how much of rpm's complaints is kept.
	maxRPMStderr = 4 << 10
	// rpmGrace is how long a killed rpm may keep its pipes open. A child of its
	// that lives on cannot hold the collector longer than that.
	rpmGrace = 2 * time.Second
)

func collectRPM(ctx context.Context, h Host) (Findings, error) {
	dir := ""
	for _, name := range rpmDatabases {
		if _, err := os.Stat(h.path(name)); err == nil {
			dir = h.path(path.Dir(name))
			break
		}
	}
	if dir == "" {
		return Findings{}, fmt.Errorf("rpm database: %w", ErrAbsent)
	}
	for _, name := range h.rpm {
		if _, err := os.Stat(name); err == nil {
			return queryRPM(ctx, name, dir)
		}
	}
	return Findings{}, fmt.Errorf("there is an rpm database in %s but no rpm command at %s", dir, strings.Join(h.rpm, " or "))
}

func queryRPM(ctx context.Context, name, dir string) (f Findings, err error) {
	cmd := exec.CommandContext(ctx, name, "--dbpath", dir, "-qa", "--qf", rpmFormat)
	// No HOME: macros of whoever started the agent must not change the answer.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.WaitDelay = rpmGrace
	var complaint prefix
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return f, err
	}
	if err := cmd.Start(); err != nil {
		return f, err
	}
	f.Packages, err = parseRPM(out)
	if _, drain := io.Copy(io.Discard, out); err == nil {
		err = drain
	}
	if wait := cmd.Wait(); wait != nil {
		err = wait
	}
	if text := strings.TrimSpace(complaint.b.String()); text != "" && err != nil {
		err = fmt.Errorf("%w: %s", err, text)
	}
	if err != nil {
		return f, fmt.Errorf("%s -qa: %w", name, err)
	}
	return f, nil
}

// parseRPM reads lines of rpmFormat. It reads on behind a line that is not one,
// and then returns an error.
func parseRPM(r io.Reader) (pkgs []Package, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRPMLine)
	var bad error
	for n := 1; lines.Scan(); n++ {
		p, ok := parseRPMLine(lines.Text())
		switch {
		case ok:
			pkgs = append(pkgs, p)
		case bad == nil:
			bad = fmt.Errorf("line %d of the answer is no package", n)
		}
	}
	return pkgs, errors.Join(bad, lines.Err())
}

func parseRPMLine(line string) (p Package, ok bool) {
	f := strings.SplitN(line, "\t", 6)
	if len(f) != 6 || f[0] == "" {
		return Package{}, false
	}
	for i := range f {
		if f[i] == "(none)" { // how rpm prints a tag that is not set
			f[i] = ""
		}
	}
	p = Package{Name: f[0], Version: f[1], Architecture: f[2], Size: f[4], Vendor: f[5], Evidence: "rpm database"}
	if t, err := strconv.ParseInt(f[3], 10, 64); err == nil {
		p.Installed = compactTime(t)
	}
	return p, true
}

// A prefix keeps the beginning of what is written to it. It hides its buffer's
// ReadFrom, which would keep everything.
type prefix struct{ b bytes.Buffer }

func (p *prefix) Write(b []byte) (int, error) {
	p.b.Write(b[:min(len(b), maxRPMStderr-p.b.Len())])
	return len(b), nil
}
