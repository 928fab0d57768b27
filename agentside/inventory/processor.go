package inventory

import (
	"context"
	"math"
	"runtime"
	"slices"

	"github.com/shirou/gopsutil/v4/cpu"
)

// collectProcessors describes each socket once, however many threads it has.
func collectProcessors(ctx context.Context, h Host) (f Findings, err error) {
	threads, err := cpu.InfoWithContext(h.gopsutil(ctx))
	sockets := map[string][]cpu.InfoStat{}
	for _, t := range threads {
		sockets[t.PhysicalID] = append(sockets[t.PhysicalID], t)
	}
	for id, threads := range sockets {
		f.Hardware = append(f.Hardware, socket(id, threads))
	}
	return f, err
}

func socket(id string, threads []cpu.InfoStat) Hardware {
	if id == "" { // a machine that does not tell its sockets apart
		id = "0"
	}
	first := threads[0]
	var p properties
	p.add("DeviceID", "CPU"+id)
	p.add("Name", first.ModelName)
	p.add("Manufacturer", first.VendorID)
	p.add("Family", first.Family)
	p.add("Model", first.Model)
	p.number("Stepping", uint64(max(0, first.Stepping)))
	p.number("MaxClockSpeed", uint64(max(0, math.Round(first.Mhz))))
	if runtime.GOOS == "linux" { // elsewhere there is not an entry per thread to count
		p.number("NumberOfCores", cores(threads))
		p.number("NumberOfLogicalProcessors", uint64(len(threads)))
	}
	if slices.Contains(first.Flags, "hypervisor") {
		p.add("HypervisorPresent", "True")
	}
	return Hardware{"Win32_Processor", "CPU" + id, "operating system", p}
}

// cores counts the distinct cores, or the threads where cores are not numbered.
func cores(threads []cpu.InfoStat) uint64 {
	ids := map[string]bool{}
	for _, t := range threads {
		if t.CoreID == "" {
			return uint64(len(threads))
		}
		ids[t.CoreID] = true
	}
	return uint64(len(ids))
}
