package inventory

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	psnet "github.com/shirou/gopsutil/v4/net"
)

// collectAdapters lists the network interfaces but loopback, with their
// addresses and the gateways reached through them.
func collectAdapters(ctx context.Context, h Host) (f Findings, err error) {
	if h.links == nil {
		return f, fmt.Errorf("interfaces of a system that does not run: %w", ErrAbsent)
	}
	links, err := h.links(ctx)
	if err != nil {
		return f, fmt.Errorf("network interfaces: %w", err)
	}
	gateways, err := h.gateways()
	for _, l := range links {
		if !slices.Contains(l.Flags, "loopback") {
			f.Hardware = append(f.Hardware, h.adapter(l), adapterConfiguration(l, gateways[l.Name]))
		}
	}
	return f, err
}

func (h Host) adapter(l psnet.InterfaceStat) Hardware {
	var p properties
	p.add("MACAddress", strings.ToUpper(l.HardwareAddr))
	p.number("MTU", uint64(max(0, l.MTU)))
	p.add("NetEnabled", boolean(slices.Contains(l.Flags, "up")))
	p.add("PhysicalAdapter", boolean(h.exists("/sys/class/net/"+l.Name+"/device")))
	// In Mbit/s; -1, or an error, where there is no link.
	if mbit, err := strconv.ParseUint(h.value("/sys/class/net/"+l.Name+"/speed"), 10, 32); err == nil {
		p.number("Speed", mbit*1_000_000)
	}
	return Hardware{"Win32_NetworkAdapter", l.Name, "operating system", p}
}

func adapterConfiguration(l psnet.InterfaceStat, gateways []string) Hardware {
	var p properties
	p.add("MACAddress", strings.ToUpper(l.HardwareAddr))
	p.add("IPEnabled", boolean(len(l.Addrs) > 0))
	for _, a := range l.Addrs {
		addr, bits, _ := strings.Cut(a.Addr, "/")
		p.add("IPAddress", addr)
		p.add("IPSubnet", bits)
	}
	for _, g := range gateways {
		p.add("DefaultIPGateway", g)
	}
	return Hardware{"Win32_NetworkAdapterConfiguration", l.Name, "operating system", p}
}

func boolean(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// gateways returns the default gateways by interface. A kernel without a
// protocol has no table for it, which is no error.
func (h Host) gateways() (map[string][]string, error) {
	m := map[string][]string{}
	err4 := h.routes("/proc/net/route", func(f []string) { addRoute(m, f, 0, 1, 2, 7) })
	err6 := h.routes("/proc/net/ipv6_route", func(f []string) { addRoute(m, f, 9, 0, 4, 1) })
	return m, errors.Join(err4, err6)
}

func (h Host) routes(name string, each func(fields []string)) error {
	f, err := os.Open(h.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		each(strings.Fields(lines.Text()))
	}
	return lines.Err()
}

// addRoute takes a line of a kernel's routing table, given which of its fields
// hold the interface, destination, gateway and mask (or prefix length). It
// keeps default routes through a gateway.
func addRoute(m map[string][]string, f []string, iface, dst, gw, mask int) {
	if len(f) <= max(iface, dst, gw, mask) || strings.Trim(f[dst]+f[mask], "0") != "" {
		return
	}
	b, err := hex.DecodeString(f[gw])
	if err != nil || len(b) != 4 && len(b) != 16 {
		return
	}
	if len(b) == 4 { // printed as a number of the host's order
		slices.Reverse(b)
	}
	addr, _ := netip.AddrFromSlice(b)
	if s := addr.String(); !addr.IsUnspecified() && !slices.Contains(m[f[iface]], s) {
		m[f[iface]] = append(m[f[iface]], s)
	}
}

// collectResolver says where names are resolved.
func collectResolver(_ context.Context, h Host) (f Findings, err error) {
	const stub = "/run/systemd/resolve/resolv.conf"
	name := "/etc/resolv.conf"
	s, err := h.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("%s: %w", name, ErrAbsent)
	}
	if err != nil {
		return f, err
	}
	servers, search := parseResolver(s)
	// systemd's resolver stands in front of the real servers.
	if slices.Equal(servers, []string{"127.0.0.53"}) && h.exists(stub) {
		name = stub
		if s, err = h.read(name); err != nil {
			return f, err
		}
		servers, search = parseResolver(s)
	}
	var p properties
	for _, s := range servers {
		p.add("DNSServerSearchOrder", s)
	}
	for _, s := range search {
		p.add("DNSDomainSuffixSearchOrder", s)
	}
	return one("Beacon_Resolver", h.Identity.Name, name, p), nil
}

// parseResolver reads resolv.conf(5). Of several search lines the last counts.
func parseResolver(s string) (servers, search []string) {
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		switch {
		case len(f) < 2:
		case f[0] == "nameserver":
			servers = append(servers, f[1])
		case f[0] == "search" || f[0] == "domain":
			search = f[1:]
		}
	}
	return servers, search
}
