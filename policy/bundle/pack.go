package bundle

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Pack writes the bundle in the folder src as a .tar.gz that is the same bytes
// for the same files, whoever packs them and when. Times are kept to the
// second: they decide which of two ready-made policies is newer.
func Pack(src string, w io.Writer) error {
	b, err := Open(src)
	if err != nil {
		return err
	}
	defer b.Close()
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	if err := b.pack(t); err != nil {
		return err
	}
	return errors.Join(t.Close(), z.Close())
}

func (b *Bundle) pack(t *tar.Writer) error {
	type entry struct {
		name  string
		mtime time.Time
	}
	var entries []entry
	for _, f := range b.Files {
		entries = append(entries, entry{f.Source, f.MTime})
	}
	if !b.Staging {
		entries = append(entries, entry{ManifestName, time.Unix(0, 0)})
	}
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.name, y.name) })
	for _, e := range entries {
		if err := b.packFile(t, e.name, e.mtime); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bundle) packFile(t *tar.Writer, name string, mtime time.Time) error {
	f, err := b.root.OpenFile(path.Join(b.sub, name), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: 0o644, Size: info.Size(), ModTime: mtime.UTC().Truncate(time.Second), Format: tar.FormatPAX}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
