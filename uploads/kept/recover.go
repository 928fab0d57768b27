package kept

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// recover finds out what is here by its names. Bodies that nothing vouches for,
// and sidecars whose body is gone, are of copies that were interrupted, or that
// were leaving. What is not ours stays.
func (s *Store) recover() error {
	if _, err := durablefile.Sweep(s.root, "."); err != nil {
		return err
	}
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	here := map[uploads.Digest]bool{}
	for _, e := range entries {
		switch digest, id, ok := parse(e.Name()); {
		case !ok || e.IsDir():
			s.stats.Unknown++
			s.log.Warn("unknown file among the kept ones is left alone", slog.String("file", e.Name()))
		case id == "":
			here[digest] = true
		default:
			s.files[id] = &file{id: id, digest: digest}
		}
	}
	return s.match(here)
}

// match pairs sidecars with bodies.
func (s *Store) match(here map[uploads.Digest]bool) error {
	var errs []error
	for id, f := range s.files {
		if !here[f.digest] {
			delete(s.files, id)
			errs = append(errs, s.root.Remove(sidecarName(f.digest, id)))
			continue
		}
		s.bodies[f.digest]++
	}
	for digest := range here {
		if s.bodies[digest] == 0 {
			errs = append(errs, s.root.Remove(bodyName(digest)))
		}
	}
	return errors.Join(errs...)
}

// parse reads a name; id is empty for a body.
func parse(name string) (digest uploads.Digest, id string, ok bool) {
	hex, rest, _ := strings.Cut(name, ".")
	digest, err := uploads.ParseDigest(hex)
	if err != nil || hex != digest.String() {
		return digest, "", false
	}
	if "."+rest == bodySuffix {
		return digest, "", true
	}
	id, ok = strings.CutSuffix(rest, sidecarSuffix)
	return digest, id, ok && id != "" && !strings.Contains(id, ".")
}

func bodyName(d uploads.Digest) string { return d.String() + bodySuffix }

func sidecarName(d uploads.Digest, id string) string {
	return fmt.Sprintf("%v.%s%s", d, id, sidecarSuffix)
}
