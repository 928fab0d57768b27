// Package bundle reads what an administrator dropped, a folder or an archive,
// into a checked bundle.
//
// Everything is first copied to a private folder and checked there, so that
// what was checked is what is published, whoever writes to the original
// meanwhile. All mistakes are reported at once, with file and line.
package bundle

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"inventorybeacon/policy"
)

// ManifestName is the file that makes a folder a bundle.
const ManifestName = "bundle.yaml"

// A Bundle is a checked bundle with the files it brings. Close frees the disk
// space that its private copy takes.
type Bundle struct {
	policy.Bundle
	// Warnings are what is taken but does not do what one may expect.
	Warnings []string
	// Missing are files that the bundle's own catalogues name and that are not
	// in it: it may be still on its way.
	Missing []string

	root *os.Root
	dir  string
	sub  string // of dir: where the bundle is
}

// An IncompleteError means that the bundle may be still on its way: neither
// bundle.yaml nor the incumbent's layout is there yet.
type IncompleteError struct{ Mistakes }

// Unwrap returns the mistakes that it is if nothing more comes.
func (e IncompleteError) Unwrap() error { return e.Mistakes }

// Open reads the folder or archive at src. The error is [Mistakes],
// [IncompleteError], [ErrChanging], or one of the disk.
func Open(src string) (*Bundle, error) { return OpenIn(context.Background(), src, "") }

// OpenIn is Open with the private copy below the folder scratch, "" for where
// temporary files go. It ends when ctx does.
func OpenIn(ctx context.Context, src, scratch string) (*Bundle, error) {
	before, err := LookAt(src)
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, src, scratch)
	// A file that vanished is an error of the disk only if nobody took it away.
	after, lookErr := LookAt(src)
	if lookErr == nil && after.Same(before) {
		return b, err
	}
	if b != nil {
		lookErr = errors.Join(lookErr, b.Close())
	}
	return nil, errors.Join(ErrChanging, lookErr)
}

func open(ctx context.Context, src, scratch string) (*Bundle, error) {
	dir, err := os.MkdirTemp(scratch, "bundle-*.tmp")
	if err != nil {
		return nil, err
	}
	b := &Bundle{dir: dir}
	if b.root, err = os.OpenRoot(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := b.load(ctx, src); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close removes the private copy.
func (b *Bundle) Close() error {
	err := b.root.Close()
	return errors.Join(err, os.RemoveAll(b.dir))
}

// OpenFile opens one of b.Files.
func (b *Bundle) OpenFile(f policy.File) (*os.File, error) {
	i := slices.IndexFunc(b.Files, func(g policy.File) bool { return g.Path == f.Path })
	if i < 0 {
		return nil, fmt.Errorf("%s: %w", f.Path, policy.ErrNoFile)
	}
	return b.root.Open(path.Join(b.sub, b.Files[i].Source))
}

func (b *Bundle) load(ctx context.Context, src string) error {
	u := &unpacker{ctx: ctx, root: b.root, spelled: map[string]string{}}
	if err := u.unpack(src); err != nil && !errors.Is(err, errTooMuch) {
		return fmt.Errorf("read bundle: %w", err)
	}
	if len(u.mistakes) > 0 {
		u.mistakes.sort()
		return u.mistakes
	}
	files := b.descend(u.files, u.read != nil)
	hasManifest := slices.ContainsFunc(files, func(f unpacked) bool { return f.path == ManifestName })
	var m Mistakes
	switch {
	case hasManifest:
		m = b.readManifest()
	case slices.ContainsFunc(files, func(f unpacked) bool { return folder(f.path) != "" }):
		m = b.staging(baseName(src))
	default:
		m.add("", 0, "it has neither %s nor one of the folders %s", ManifestName, strings.Join(Folders, ", "))
		return IncompleteError{m}
	}
	if err := b.collect(files, &m); err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	if len(m) > 0 {
		m.sort()
		return m
	}
	b.advise()
	return nil
}

// descend steps into the one folder that an archive was packed with.
func (b *Bundle) descend(files []unpacked, archive bool) []unpacked {
	top := ""
	for _, f := range files {
		first, _, below := strings.Cut(f.path, "/")
		if !archive || !below || folder(f.path) != "" || top != "" && top != first {
			return files
		}
		top = first
	}
	b.sub = top
	for i := range files {
		files[i].path = strings.TrimPrefix(files[i].path, top+"/")
	}
	return files
}

// staging makes b what a folder laid out like the incumbent's is.
func (b *Bundle) staging(name string) (m Mistakes) {
	if !policy.ValidName(name) {
		m.add("", 0, "%q cannot be the name of a bundle: rename it to letters, digits and . _ - or spaces between", name)
	}
	b.Name, b.Priority, b.Staging = name, policy.StagingPriority, true
	return m
}

// collect lists the ready-made files, with their digests.
func (b *Bundle) collect(files []unpacked, m *Mistakes) error {
	for _, f := range files {
		if f.path == ManifestName {
			continue
		}
		top := folder(f.path)
		if top == "" {
			b.passOver(f.path, m)
			continue
		}
		sum, md, err := b.digests(f.path)
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(f.path, "/")
		b.Files = append(b.Files, policy.File{
			Path: top + "/" + rest, Source: f.path, Digest: sum, MD5: md, Size: f.size, MTime: f.mtime,
		})
	}
	slices.SortFunc(b.Files, func(x, y policy.File) int { return strings.Compare(x.Path, y.Path) })
	return nil
}

func (b *Bundle) passOver(p string, m *Mistakes) {
	if ext(p) != "" && !b.Staging {
		m.add(p, 0, "a ready-made file must lie in one of the folders %s", strings.Join(Folders, ", "))
		return
	}
	b.Warnings = append(b.Warnings, p+" is neither named by the bundle nor in one of its folders: passed over")
}

func (b *Bundle) digests(p string) (sha, md string, err error) {
	f, err := b.root.Open(path.Join(b.sub, p))
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	s, m := sha256.New(), md5.New()
	if _, err := io.Copy(io.MultiWriter(s, m), f); err != nil {
		return "", "", err
	}
	return hex.EncodeToString(s.Sum(nil)), hex.EncodeToString(m.Sum(nil)), nil
}
