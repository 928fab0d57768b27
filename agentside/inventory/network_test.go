package inventory

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	psnet "github.com/shirou/gopsutil/v4/net"
)

func TestAdaptersHaveTheirGateways(t *testing.T) {
	h := newHost(filepath.Join(fixtures, "debian12"), Identity{Name: "n"})
	h.links = func(context.Context) (psnet.InterfaceStatList, error) {
		return psnet.InterfaceStatList{
			{Name: "lo", MTU: 65536, Flags: []string{"up", "loopback"}, Addrs: psnet.InterfaceAddrList{{Addr: "127.0.0.1/8"}}},
			{Name: "eno1", MTU: 1500, HardwareAddr: "02:00:5e:10:00:01", Flags: []string{"up", "broadcast"}, Addrs: psnet.InterfaceAddrList{{Addr: "192.0.2.2/24"}, {Addr: "2001:db8::2/64"}}},
			{Name: "eno2", MTU: 1500, HardwareAddr: "02:00:5e:10:00:02"},
		}, nil
	}
	f, err := collectAdapters(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	want := []Hardware{
		{"Win32_NetworkAdapter", "eno1", "operating system", properties{
			{"MACAddress", "02:00:5E:10:00:01"}, {"MTU", "1500"}, {"NetEnabled", "True"}, {"PhysicalAdapter", "False"}}},
		{"Win32_NetworkAdapterConfiguration", "eno1", "operating system", properties{
			{"MACAddress", "02:00:5E:10:00:01"}, {"IPEnabled", "True"}, {"IPAddress", "192.0.2.2"}, {"IPSubnet", "24"}, {"IPAddress", "2001:db8::2"}, {"IPSubnet", "64"},
			{"DefaultIPGateway", "192.0.2.1"}, {"DefaultIPGateway", "fe80::1"}}},
		{"Win32_NetworkAdapter", "eno2", "operating system", properties{
			{"MACAddress", "02:00:5E:10:00:02"}, {"MTU", "1500"}, {"NetEnabled", "False"}, {"PhysicalAdapter", "False"}}},
		{"Win32_NetworkAdapterConfiguration", "eno2", "operating system", properties{
			{"MACAddress", "02:00:5E:10:00:02"}, {"IPEnabled", "False"}}},
	}
	if diff := cmp.Diff(want, f.Hardware); diff != "" {
		t.Error(diff)
	}

	h.links = func(context.Context) (psnet.InterfaceStatList, error) { return nil, errors.New("no netlink") }
	if _, err := collectAdapters(t.Context(), h); err == nil {
		t.Error("no error where the interfaces cannot be listed")
	}
}

func TestRoutesThatAreNoGatewayAreLeftOut(t *testing.T) {
	root := t.TempDir()
	place(t, root, "/proc/net/route", "Iface\tDestination\tGateway\nshort 00000000 010200C0\n"+
		"a 00000000 010200C0 0003 0 0 0 00000000\na 00000000 010200C0 0003 0 0 9 00000000\nb 00000000 zz0200C0 0003 0 0 0 00000000\n"+
		"c 00000000 010200C0 0003 0 0 0 00000080\nd 00000000 00000000 0001 0 0 0 00000000\n")
	got, err := newHost(root, Identity{}).gateways()
	if want := map[string][]string{"a": {"192.0.2.1"}}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestResolverIsRead(t *testing.T) {
	servers, search := parseResolver("#nameserver 192.0.2.9\nnameserver 192.0.2.1\n nameserver\tfe80::1%eth0\ndomain a.example\nsearch b.example c.example\noptions ndots:2\nnameserver\n")
	if !slices.Equal(servers, []string{"192.0.2.1", "fe80::1%eth0"}) || !slices.Equal(search, []string{"b.example", "c.example"}) {
		t.Errorf("got %q and %q", servers, search)
	}
	root := t.TempDir()
	h := newHost(root, Identity{Name: "n"})
	if _, err := collectResolver(t.Context(), h); !errors.Is(err, ErrAbsent) {
		t.Errorf("without a file: %v", err)
	}
	place(t, root, "/etc/resolv.conf", "nameserver 127.0.0.53\n")
	f, err := collectResolver(t.Context(), h)
	if err != nil || f.Hardware[0].Properties[0].Value != "127.0.0.53" {
		t.Errorf("with a stub alone: %+v, %v", f, err)
	}
}
