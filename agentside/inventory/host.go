package inventory

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/common"
	psnet "github.com/shirou/gopsutil/v4/net"
)

// maxFile bounds the small files collectors read whole.
const maxFile = 1 << 20

// A Host is the machine that collectors look at.
type Host struct {
	Root     string
	Identity Identity

	links func(context.Context) (psnet.InterfaceStatList, error)
	rpm   []string // where its rpm command may be
}

func newHost(root string, id Identity) Host {
	h := Host{Root: root, Identity: id, rpm: []string{"/usr/bin/rpm", "/bin/rpm"}}
	if h.live() {
		h.links = psnet.InterfacesWithContext
	}
	return h
}

// live reports whether the host is the machine this program runs on, so that
// what its kernel says belongs to it.
func (h Host) live() bool { return h.Root == "/" }

// path returns where a file of the host is, given with slashes.
func (h Host) path(name string) string { return filepath.Join(h.Root, filepath.FromSlash(name)) }

// read returns a small file, without the white space around it.
func (h Host) read(name string) (string, error) {
	f, err := os.Open(h.path(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxFile:
		return "", fmt.Errorf("%s is over %d bytes", f.Name(), maxFile)
	}
	return strings.TrimSpace(strings.TrimRight(string(b), "\x00")), nil
}

// value returns a small file's contents, or nothing if it cannot be read: for
// facts that one kernel offers and another does not.
func (h Host) value(name string) string {
	s, err := h.read(name)
	if err != nil {
		return ""
	}
	return s
}

func (h Host) exists(name string) bool {
	_, err := os.Stat(h.path(name))
	return err == nil
}

// gopsutil returns ctx such that gopsutil reads below the host's root.
func (h Host) gopsutil(ctx context.Context) context.Context {
	return context.WithValue(ctx, common.EnvKey, common.EnvMap{
		common.HostProcEnvKey: h.path("proc"),
		common.HostSysEnvKey:  h.path("sys"),
		common.HostEtcEnvKey:  h.path("etc"),
		common.HostVarEnvKey:  h.path("var"),
		common.HostRunEnvKey:  h.path("run"),
		common.HostDevEnvKey:  h.path("dev"),
		common.HostRootEnvKey: h.Root,
	})
}

// properties gather facts; what is unknown is left out.
type properties []Property

func (p *properties) add(name, value string) {
	if value != "" {
		*p = append(*p, Property{name, value})
	}
}

// number adds a quantity of which zero means unknown.
func (p *properties) number(name string, n uint64) {
	if n != 0 {
		p.add(name, strconv.FormatUint(n, 10))
	}
}
