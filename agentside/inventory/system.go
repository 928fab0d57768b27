package inventory

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"inventorybeacon/uploads"
)

// collectIdentity says who the machine is to us.
func collectIdentity(_ context.Context, h Host) (Findings, error) {
	var p properties
	p.add("MachineName", h.Identity.Name)
	p.add("Domain", h.Identity.Domain)
	p.add("AgentID", h.Identity.AgentID)
	p.add("AgentVersion", h.Identity.AgentVersion)
	return one("MGS_Identity", h.Identity.Name, "beacon-agent", p), nil
}

// collectSystem says what machine it is as a whole.
func collectSystem(ctx context.Context, h Host) (Findings, error) {
	var p properties
	p.add("Name", h.Identity.Name)
	p.add("Domain", h.Identity.Domain)
	p.add("Manufacturer", h.value(dmiDir+"/sys_vendor"))
	model := h.value(dmiDir + "/product_name")
	if model == "" { // boards without DMI
		model = h.value("/sys/firmware/devicetree/base/model")
	}
	p.add("Model", model)
	p.add("SystemType", h.arch())
	threads, cpuErr := cpu.CountsWithContext(h.gopsutil(ctx), true)
	p.number("NumberOfLogicalProcessors", uint64(max(0, threads)))
	m, memErr := mem.VirtualMemoryWithContext(h.gopsutil(ctx))
	if memErr == nil {
		p.number("TotalPhysicalMemory", m.Total)
		p.number("TotalSwapSpaceSize", m.SwapTotal)
	}
	return one("Win32_ComputerSystem", h.Identity.Name, "operating system", p), errors.Join(cpuErr, memErr)
}

// collectOS says which operating system runs.
func collectOS(ctx context.Context, h Host) (Findings, error) {
	var p properties
	p.add("CSName", h.Identity.Name)
	var err error
	caption := ""
	if runtime.GOOS == "linux" {
		caption, err = h.linux(&p)
	} else {
		caption, err = h.foreign(ctx, &p)
	}
	p.add("OSArchitecture", h.arch())
	return one("Win32_OperatingSystem", caption, "operating system", p), err
}

// linux adds what a Linux system says about itself, and returns its name.
func (h Host) linux(p *properties) (caption string, err error) {
	release, err := h.osRelease()
	caption = release["PRETTY_NAME"]
	p.add("Caption", caption)
	p.add("Version", release["VERSION_ID"])
	p.add("Platform", release["ID"])
	p.add("PlatformLike", release["ID_LIKE"])
	p.add("Codename", release["VERSION_CODENAME"])
	p.add("Variant", release["VARIANT"])
	p.add("KernelName", h.value("/proc/sys/kernel/ostype"))
	p.add("KernelVersion", h.value("/proc/sys/kernel/osrelease"))
	p.add("KernelBuild", h.value("/proc/sys/kernel/version"))
	boot, bootErr := h.bootTime()
	p.add("LastBootUpTime", boot)
	return caption, errors.Join(err, bootErr)
}

// foreign does the same for what is not Linux.
func (h Host) foreign(ctx context.Context, p *properties) (caption string, err error) {
	caption, family, version, err := host.PlatformInformationWithContext(ctx)
	p.add("Caption", caption)
	p.add("Version", version)
	p.add("Platform", runtime.GOOS)
	p.add("PlatformLike", family)
	if kernel, err := host.KernelVersionWithContext(ctx); err == nil {
		p.add("KernelVersion", kernel)
	}
	boot, bootErr := host.BootTimeWithContext(ctx)
	if bootErr == nil {
		p.add("LastBootUpTime", compactTime(int64(boot)))
	}
	return caption, errors.Join(err, bootErr)
}

// arch returns the machine's architecture as its kernel names it.
func (h Host) arch() string {
	if s := h.value("/proc/sys/kernel/arch"); s != "" || !h.live() {
		return s
	}
	s, err := host.KernelArch()
	if err != nil {
		return runtime.GOARCH
	}
	return s
}

// bootTime reads when the kernel started. It is fixed at boot, unlike now less
// the uptime, which wanders with the clock.
func (h Host) bootTime() (string, error) {
	f, err := os.Open(h.path("/proc/stat"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxFile) // the line of interrupts is long
	for lines.Scan() {
		if s, ok := strings.CutPrefix(lines.Text(), "btime "); ok {
			sec, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			if err != nil {
				return "", fmt.Errorf("boot time: %w", err)
			}
			return compactTime(sec), nil
		}
	}
	return "", errors.Join(errors.New("/proc/stat has no boot time"), lines.Err())
}

// osRelease reads os-release(5), of which the second place is the fallback.
func (h Host) osRelease() (map[string]string, error) {
	s, err := h.read("/etc/os-release")
	if errors.Is(err, fs.ErrNotExist) {
		s, err = h.read("/usr/lib/os-release")
	}
	return parseOSRelease(s), err
}

// parseOSRelease reads shell-like assignments: NAME=value, quoted with ' or "
// or not at all. Within double quotes a backslash takes the next character as
// it is.
func parseOSRelease(s string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(s) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		m[name] = unquote(value)
	}
	return m
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// compactTime writes seconds since 1970 as the incumbent writes times, in UTC.
func compactTime(sec int64) string { return time.Unix(sec, 0).UTC().Format(uploads.TimestampLayout) }

// one is the findings of a collector that describes a single thing.
func one(class, name, evidence string, p properties) Findings {
	return Findings{Hardware: []Hardware{{Class: class, Name: name, Evidence: evidence, Properties: p}}}
}
