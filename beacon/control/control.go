// Package control lets an operator's command talk to the beacon that is
// running on a data directory: JSON over HTTP over a Unix socket which only the
// beacon's own user can open.
package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// SocketName is the socket's name in the data directory.
const SocketName = "control.sock"

var (
	// ErrNotRunning means no beacon answers on the data directory.
	ErrNotRunning = errors.New("no beacon is running here")
	// ErrRunning means a beacon already runs on the data directory.
	ErrRunning = errors.New("a beacon is already running here")
)

// Listen opens the socket in dir, in place of one that a dead process left. It
// is never visible with a wider mode than 0600. Close the listener to remove
// it.
func Listen(dir string) (net.Listener, error) {
	name := filepath.Join(dir, SocketName)
	if c, err := dialSocket(dir, SocketName); err == nil {
		c.Close()
		return nil, fmt.Errorf("open %s: %w", name, ErrRunning)
	}
	// Made in a directory that only we can enter, then moved: neither a umask
	// nor a race decides who can connect.
	tmp, err := os.MkdirTemp(dir, ".control-")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer os.RemoveAll(tmp)
	ln, err := bind(tmp)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	made := filepath.Join(tmp, SocketName)
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, name)); err != nil {
		ln.Close()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &listener{ln, name}, nil
}

func bind(dir string) (*net.UnixListener, error) {
	short, done, err := shorten(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(short, SocketName), Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // it will have another name by then
	return ln, nil
}

type listener struct {
	net.Listener
	name string
}

func (l *listener) Close() error {
	err := l.Listener.Close()
	if rm := os.Remove(l.name); !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

func dialSocket(dir, name string) (net.Conn, error) {
	short, done, err := shorten(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	return net.Dial("unix", filepath.Join(short, name))
}

// maxPath is how long a socket's path may be everywhere; the address has room
// for 104 to 108 bytes, and a zero ends it.
const maxPath = 100

// shorten returns a path of dir that leaves room for the socket's name: dir
// itself, or a symbolic link to it which lasts until done is called. A socket
// stays connected when its path goes.
func shorten(dir string) (short string, done func(), err error) {
	if len(dir)+1+len(SocketName) <= maxPath || runtime.GOOS == "windows" {
		return dir, func() {}, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	base := os.TempDir()
	if len(base) > maxPath/2 {
		base = "/tmp"
	}
	tmp, err := os.MkdirTemp(base, "bcn")
	if err != nil {
		return "", nil, err
	}
	link := filepath.Join(tmp, "d")
	if err := os.Symlink(abs, link); err != nil {
		os.Remove(tmp)
		return "", nil, err
	}
	return link, func() { os.Remove(link); os.Remove(tmp) }, nil
}
