package beacon

import (
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/beacon/config"
)

// limits are what this machine suggests, unless the configuration says otherwise.
func (b *Beacon) limits() admission.Limits {
	l := admission.Preset(machine(b.config.Data))
	c := b.config.Limits
	admission.Override(&l.Files, c.SpoolFiles)
	admission.Override(&l.BytesInFlight, int64(c.BytesInFlight))
	l.Device.Override(share(c.Device))
	l.Child.Override(share(c.Child))
	l.Watermarks.Override(admission.Watermarks{
		Logs: int64(b.config.Spool.LogFree), Uploads: int64(b.config.Spool.MinFree), Policy: int64(b.config.Spool.PolicyFree),
	})
	for e, r := range map[admission.Endpoint]config.Rate{admission.Policy: c.Rates.Policy, admission.Upload: c.Rates.Upload, admission.Ask: c.Rates.Ask} {
		preset := l.Rates[e]
		preset.Override(admission.Rate{Beacon: float64(r.Beacon), Child: float64(r.Child), Peer: float64(r.Peer), Agent: float64(r.Agent)})
		l.Rates[e] = preset
	}
	return l
}

// agentLimits are those that the agents' surface keeps.
func (b *Beacon) agentLimits(l admission.Limits) Limits {
	return Limits{
		Rates: admission.NewRates(l.Rates, b.manyBehind()), Held: b.spool.Usage, Device: l.Device, Child: l.Child,
		BytesInFlight: l.BytesInFlight, Uploads: l.Rates[admission.Upload].Beacon,
	}
}

// manyBehind says which addresses are not one sender: a proxy on this machine,
// unless limits for addresses were configured. Proxies that are trusted say
// themselves whom they speak for.
func (b *Beacon) manyBehind() func(netip.Addr) bool {
	r := b.config.Limits.Rates
	if r.Policy.Peer != 0 || r.Upload.Peer != 0 || r.Ask.Peer != 0 {
		return func(netip.Addr) bool { return false }
	}
	return netip.Addr.IsLoopback
}

func share(s config.Share) admission.Share {
	return admission.Share{Files: s.Files, Bytes: int64(s.Bytes)}
}

// machine is what limits are chosen from. What cannot be found out counts as a
// small machine's.
func machine(data string) admission.Machine {
	m := admission.Machine{Cores: processors, Memory: 1 << 30, Disk: 10 << 30}
	if v, err := mem.VirtualMemory(); err == nil {
		m.Memory = int64(v.Total)
	}
	if n, ok := containerMemory(); ok {
		m.Memory = min(m.Memory, n)
	}
	if u, err := disk.Usage(data); err == nil {
		m.Disk = int64(u.Total)
	}
	return m
}

// containerMemory is what the control group allows, where there is one that does
// not allow everything.
func containerMemory() (int64, bool) {
	b, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil && n > 0
}
