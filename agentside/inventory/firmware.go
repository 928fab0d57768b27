package inventory

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// dmiDir is where Linux shows what the firmware says about the machine. Serial
// numbers there are for root only.
const dmiDir = "/sys/class/dmi/id"

// dmiClasses are what is made of it: file to property, by class.
var dmiClasses = []struct {
	class, name string // name is a file
	files       [][2]string
}{
	{"Win32_BIOS", "bios_version", [][2]string{
		{"bios_vendor", "Manufacturer"}, {"bios_version", "SMBIOSBIOSVersion"}, {"bios_date", "ReleaseDate"}, {"product_serial", "SerialNumber"},
	}},
	{"Win32_BaseBoard", "board_name", [][2]string{
		{"board_vendor", "Manufacturer"}, {"board_name", "Product"}, {"board_version", "Version"}, {"board_serial", "SerialNumber"}, {"board_asset_tag", "Tag"},
	}},
	{"Win32_SystemEnclosure", "chassis_vendor", [][2]string{
		{"chassis_vendor", "Manufacturer"}, {"chassis_type", "ChassisTypes"}, {"chassis_version", "Version"}, {"chassis_serial", "SerialNumber"}, {"chassis_asset_tag", "SMBIOSAssetTag"},
	}},
	{"Win32_ComputerSystemProduct", "product_name", [][2]string{
		{"sys_vendor", "Vendor"}, {"product_name", "Name"}, {"product_version", "Version"}, {"product_serial", "IdentifyingNumber"}, {"product_uuid", "UUID"}, {"product_sku", "SKUNumber"}, {"product_family", "Family"},
	}},
}

// collectFirmware reads what the firmware says. A fact it does not offer is
// left out; one that may not be read is an error.
func collectFirmware(_ context.Context, h Host) (f Findings, err error) {
	if _, err := os.Stat(h.path(dmiDir)); errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("firmware tables: %w", ErrAbsent)
	}
	var errs []error
	for _, c := range dmiClasses {
		var p properties
		for _, file := range c.files {
			s, err := h.read(dmiDir + "/" + file[0])
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			p.add(file[1], s)
		}
		if len(p) > 0 {
			f.Hardware = append(f.Hardware, Hardware{c.class, h.value(dmiDir + "/" + c.name), "firmware", p})
		}
	}
	return f, errors.Join(errs...)
}

// collectMemory reads the memory modules from the firmware's tables, which only
// root may do.
func collectMemory(_ context.Context, h Host) (f Findings, err error) {
	const dir = "/sys/firmware/dmi/entries"
	entries, err := os.ReadDir(h.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("firmware tables: %w", ErrAbsent)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "17-") { // Memory Device
			continue
		}
		raw, err := os.ReadFile(h.path(dir + "/" + e.Name() + "/raw"))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if m, ok := parseMemoryDevice(raw); ok {
			f.Hardware = append(f.Hardware, m)
		}
	}
	return f, errors.Join(append(errs, err)...)
}

// parseMemoryDevice reads an SMBIOS structure of type 17 (DMTF DSP0134, 7.18).
// It returns false for an empty socket, and for what is no such structure.
func parseMemoryDevice(raw []byte) (Hardware, bool) {
	if len(raw) < 4 || raw[0] != 17 || int(raw[1]) < 0x15 || int(raw[1]) > len(raw) {
		return Hardware{}, false
	}
	s := structure{raw[:raw[1]], strings.Split(string(raw[raw[1]:]), "\x00")}
	size := memoryBytes(s)
	if size == 0 {
		return Hardware{}, false
	}
	var p properties
	p.number("Capacity", size)
	p.add("DeviceLocator", s.text(0x10))
	p.add("BankLabel", s.text(0x11))
	p.number("SMBIOSMemoryType", uint64(s.byte(0x12)))
	p.number("FormFactor", uint64(s.byte(0x0e)))
	p.number("Speed", uint64(s.word(0x15)))
	p.add("Manufacturer", s.text(0x17))
	p.add("SerialNumber", s.text(0x18))
	p.add("PartNumber", s.text(0x1a))
	return Hardware{"Win32_PhysicalMemory", s.text(0x10), "firmware", p}, true
}

// memoryBytes returns a module's size, or 0 for an empty socket and for a size
// that the firmware does not know.
func memoryBytes(s structure) uint64 {
	switch size := s.word(0x0c); {
	case size == 0xffff:
		return 0
	case size == 0x7fff: // too large for the field
		return uint64(s.dword(0x1c)&0x7fffffff) << 20
	case size&0x8000 != 0:
		return uint64(size&0x7fff) << 10
	default:
		return uint64(size) << 20
	}
}

// A structure of SMBIOS: its formatted part, and the strings that fields of it
// number from 1. A field beyond its length is one the firmware is too old for,
// and reads as zero.
type structure struct {
	b       []byte
	strings []string
}

func (s structure) byte(at int) byte {
	if at >= len(s.b) {
		return 0
	}
	return s.b[at]
}

func (s structure) word(at int) uint16 {
	if at+2 > len(s.b) {
		return 0
	}
	return binary.LittleEndian.Uint16(s.b[at:])
}

func (s structure) dword(at int) uint32 {
	if at+4 > len(s.b) {
		return 0
	}
	return binary.LittleEndian.Uint32(s.b[at:])
}

func (s structure) text(at int) string {
	n := int(s.byte(at))
	if n == 0 || n > len(s.strings) {
		return ""
	}
	return strings.TrimSpace(s.strings[n-1])
}
