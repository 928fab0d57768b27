package inventory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
)

// collectDrives lists the physical drives, which are the block devices that
// have a device behind them: not loops, memory disks, RAID or mapped ones.
func collectDrives(_ context.Context, h Host) (f Findings, err error) {
	const dir = "/sys/block"
	entries, err := os.ReadDir(h.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("%s: %w", dir, ErrAbsent)
	}
	for _, e := range entries {
		block := dir + "/" + e.Name()
		if _, err := os.Stat(h.path(block + "/device")); err == nil {
			f.Hardware = append(f.Hardware, h.drive(e.Name(), block))
		}
	}
	return f, err
}

func (h Host) drive(name, block string) Hardware {
	var p properties
	p.add("DeviceID", "/dev/"+name)
	if vendor := h.value(block + "/device/vendor"); !strings.HasPrefix(vendor, "0x") { // else a bus's number
		p.add("Manufacturer", vendor)
	}
	p.add("Model", h.value(block+"/device/model"))
	serial := h.value(block + "/device/serial")
	if serial == "" {
		serial = h.value(block + "/serial")
	}
	p.add("SerialNumber", serial)
	p.add("FirmwareRevision", h.value(block+"/device/firmware_rev"))
	// The kernel counts in sectors of 512 bytes, whatever the drive's own size.
	if sectors, err := strconv.ParseUint(h.value(block+"/size"), 10, 54); err == nil {
		p.number("Size", sectors*512)
	}
	p.add("MediaType", h.mediaType(block))
	return Hardware{"Win32_DiskDrive", "/dev/" + name, "operating system", p}
}

func (h Host) mediaType(block string) string {
	switch {
	case h.value(block+"/removable") == "1":
		return "Removable media"
	case h.value(block+"/queue/rotational") == "0":
		return "Solid state"
	case h.value(block+"/queue/rotational") == "1":
		return "Fixed hard disk media"
	}
	return ""
}

// collectVolumes lists what is mounted from local devices, each once. Network
// file systems are another machine's, and may hang; loop devices are files on
// volumes that are listed already, by the hundred where software comes that way.
func collectVolumes(ctx context.Context, h Host) (f Findings, err error) {
	parts, err := disk.PartitionsWithContext(h.gopsutil(ctx), false)
	if err != nil {
		return f, fmt.Errorf("mounted file systems: %w", err)
	}
	// The shortest mount point is the file system's own; the others are binds.
	slices.SortFunc(parts, func(a, b disk.PartitionStat) int {
		if n := len(a.Mountpoint) - len(b.Mountpoint); n != 0 {
			return n
		}
		return strings.Compare(a.Mountpoint, b.Mountpoint)
	})
	seen := map[string]bool{}
	for _, part := range parts {
		if seen[part.Device] || strings.HasPrefix(part.Device, "/dev/loop") {
			continue
		}
		seen[part.Device] = true
		f.Hardware = append(f.Hardware, h.volume(ctx, part))
	}
	return f, nil
}

func (h Host) volume(ctx context.Context, part disk.PartitionStat) Hardware {
	var p properties
	p.add("DeviceID", part.Mountpoint)
	p.add("VolumeName", part.Device)
	p.add("FileSystem", part.Fstype)
	if slices.Contains(part.Opts, "ro") {
		p.add("Access", "read-only")
	}
	if h.live() {
		if usage, err := disk.UsageWithContext(ctx, part.Mountpoint); err == nil {
			p.number("Size", usage.Total)
			p.add("FreeSpace", strconv.FormatUint(usage.Free, 10))
		}
	}
	return Hardware{"Win32_LogicalDisk", part.Mountpoint, runtime.GOOS + " mount table", p}
}
