package bundle

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Bounds of a bundle. They keep a mistake or an attack from filling the disk;
// larger ones let a larger mistake through.
const (
	maxFiles = 20_000
	maxBytes = 4 << 30
	// maxRatio is how much more than its own size an archive may unpack to,
	// beyond maxSlack. Text compresses 20:1, a bomb 1000:1.
	maxRatio = 100
	maxSlack = 1 << 20
	// maxWindow bounds the memory that a zstd frame may ask for.
	maxWindow = 64 << 20
)

// An unpacker copies a bundle into a private folder, where nobody changes it
// any more.
type unpacker struct {
	ctx      context.Context
	root     *os.Root
	read     func() int64 // bytes of the archive read so far; nil for a folder
	files    []unpacked
	unpacked int64             // bytes of all files
	stream   int64             // bytes of the tar file behind the compression
	spelled  map[string]string // lower-cased path of a file or folder -> as it is spelled
	mistakes Mistakes
}

type unpacked struct {
	path  string
	size  int64
	mtime time.Time
}

// errTooMuch ends the reading of a bundle that goes over a bound.
var errTooMuch = errors.New("too much")

// put copies one file. What is wrong with its name is noted and the file passed over.
func (u *unpacker) put(name string, mtime time.Time, r io.Reader) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	name = strings.TrimPrefix(name, "./")
	if !u.admit(name) {
		return nil
	}
	if len(u.files) == maxFiles {
		u.mistakes.add("", 0, "it holds more than %d files", maxFiles)
		return errTooMuch
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, u.bounded(r, &u.unpacked))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	u.files = append(u.files, unpacked{name, n, mtime.UTC()})
	return nil
}

// admit checks the name of a file, or of a folder.
func (u *unpacker) admit(name string) bool {
	if why := badPath(name); why != "" {
		u.mistakes.add(printable(name), 0, "%s", why)
		return false
	}
	if hidden(name) {
		return false
	}
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		part, whole := name[:i], i == len(name)
		before, known := u.spelled[strings.ToLower(part)]
		switch {
		case !known:
			u.spelled[strings.ToLower(part)] = part
		case before != part:
			u.mistakes.add(name, 0, "%q and %q differ in case only", before, part)
			return false
		case whole:
			u.mistakes.add(name, 0, "it is there twice")
			return false
		}
	}
	return true
}

// printable makes a name from an archive harmless to print.
func printable(name string) string {
	if len(name) > 100 {
		name = name[:100] + "..."
	}
	quoted := fmt.Sprintf("%q", name)
	return quoted[1 : len(quoted)-1]
}

// bounded counts what is unpacked, and ends the reading where it is too much.
func (u *unpacker) bounded(r io.Reader, count *int64) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		*count += int64(n)
		switch {
		case *count > maxBytes:
			u.mistakes.add("", 0, "it unpacks to more than %d MiB", maxBytes>>20)
			return n, errTooMuch
		case u.read != nil && *count > maxSlack+maxRatio*u.read():
			u.mistakes.add("", 0, "it unpacks to more than %d times its size", maxRatio)
			return n, errTooMuch
		}
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// unpack copies what is at src, by what its name ends in.
func (u *unpacker) unpack(src string) error {
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return u.folder(src, info)
	case !info.Mode().IsRegular():
		u.mistakes.add("", 0, "it is neither a folder nor a file; links are not followed")
		return nil
	}
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer f.Close()
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) { // a link has taken its place
		return errors.Join(ErrChanging, err)
	}
	return u.archive(f, info.Size())
}

func (u *unpacker) archive(f *os.File, size int64) error {
	in := &countingReader{r: f}
	u.read = func() int64 { return in.n }
	var err error
	switch archiveExt(f.Name()) {
	case ".zip":
		u.read = func() int64 { return size }
		err = u.zip(f, size)
	case ".tar.gz", ".tgz":
		err = u.gzip(in)
	case ".tar.zst":
		err = u.zstd(in)
	default:
		u.mistakes.add("", 0, "it is not a folder, .zip, .tar.gz or .tar.zst")
	}
	var ioErr *fs.PathError
	if err != nil && !errors.As(err, &ioErr) && u.ctx.Err() == nil && !errors.Is(err, errTooMuch) {
		u.mistakes.add("", 0, "the archive is cut or damaged: %v", err) // not the disk's fault
		err = nil
	}
	return err
}

var archiveExts = []string{".tar.gz", ".tar.zst", ".tgz", ".zip"}

func archiveExt(name string) string {
	name = strings.ToLower(name)
	for _, e := range archiveExts {
		if strings.HasSuffix(name, e) {
			return e
		}
	}
	return ""
}

// baseName is the name of a bundle that does not say it.
func baseName(src string) string {
	base := filepath.Base(src)
	return base[:len(base)-len(archiveExt(base))]
}

func (u *unpacker) gzip(in io.Reader) error {
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	return u.tar(z)
}

func (u *unpacker) zstd(in io.Reader) error {
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	return u.tar(z)
}

// tarEnd is how many zero bytes end a tar file. One that lacks them was cut,
// even if it happens to end between two files.
const tarEnd = 1024

func (u *unpacker) tar(stream io.Reader) error {
	zeros := &zeroTail{r: stream}
	t := tar.NewReader(u.bounded(zeros, &u.stream))
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := u.tarEntry(h, t); err != nil {
			return err
		}
	}
	// The sums of the compression come at its end, after that of the tar file.
	if _, err := io.Copy(io.Discard, u.bounded(zeros, &u.stream)); err != nil {
		return err
	}
	if zeros.n < tarEnd {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (u *unpacker) tarEntry(h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeReg:
		return u.put(h.Name, h.ModTime, r) // counted once more: a sparse file is larger than its part of the stream
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	}
	u.mistakes.add(printable(h.Name), 0, "it is a link or a device; only files and folders are taken")
	return nil
}

func (u *unpacker) zip(f *os.File, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return err
	}
	if len(z.File) > 2*maxFiles {
		u.mistakes.add("", 0, "it holds more than %d files", maxFiles)
		return errTooMuch
	}
	for _, e := range z.File {
		if err := u.zipEntry(e); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) zipEntry(e *zip.File) error {
	switch {
	case e.Mode().IsDir():
		return nil
	case !e.Mode().IsRegular():
		u.mistakes.add(printable(e.Name), 0, "it is a link or a device; only files and folders are taken")
		return nil
	}
	r, err := e.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", printable(e.Name), err)
	}
	defer r.Close()
	return u.put(e.Name, e.Modified, r)
}

func (u *unpacker) folder(src string, info fs.FileInfo) error {
	from, err := os.OpenRoot(src)
	if err != nil {
		return err
	}
	defer from.Close()
	if opened, err := from.Stat("."); err != nil || !os.SameFile(info, opened) { // a link has taken its place
		return errors.Join(ErrChanging, err)
	}
	return fs.WalkDir(from.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p == ".":
			return nil
		case hidden(p) && d.IsDir():
			return fs.SkipDir
		case d.IsDir() || hidden(p):
			return nil
		case !d.Type().IsRegular():
			u.mistakes.add(printable(p), 0, "it is a link or a device; only files and folders are taken")
			return nil
		}
		f, err := from.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return ErrChanging
		}
		return u.put(p, info.ModTime(), f)
	})
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// A zeroTail counts the zero bytes at the end of what was read so far.
type zeroTail struct {
	r io.Reader
	n int
}

func (z *zeroTail) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	for _, b := range p[:n] {
		if b == 0 {
			z.n++
		} else {
			z.n = 0
		}
	}
	return n, err
}
