package inventory

import (
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shirou/gopsutil/v4/cpu"
)

func TestOSReleaseIsUnquoted(t *testing.T) {
	got := parseOSRelease("# a comment\nA=plain\nB=\"two words\"\nC='it is $HOME'\nD=\"a \\\"quote\\\" \\$x \\\\\"\nE=\n\nnonsense\n F=\"\"\nG=\"\nH=a\\ b\n")
	want := map[string]string{"A": "plain", "B": "two words", "C": "it is $HOME", "D": `a "quote" $x \`, "E": "", "F": "", "G": `"`, "H": "a b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOSReleaseHasTwoPlaces(t *testing.T) {
	root := t.TempDir()
	h := newHost(root, Identity{})
	if _, err := h.osRelease(); err == nil {
		t.Error("no error where there is none")
	}
	place(t, root, "/usr/lib/os-release", "ID=vendor\n")
	if m, err := h.osRelease(); m["ID"] != "vendor" || err != nil {
		t.Errorf("got %v, %v", m, err)
	}
	place(t, root, "/etc/os-release", "ID=local\n")
	if m, err := h.osRelease(); m["ID"] != "local" || err != nil {
		t.Errorf("got %v, %v", m, err)
	}
}

// The real machine is asked, as the program does: what it runs on is known.
func TestInventoryOfThisMachineKnowsWhatItRunsOn(t *testing.T) {
	o := options()
	o.Collectors = nil
	d, err := Collect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	classes := map[string]map[string]string{}
	for _, s := range d.Sections {
		if s.Status == StatusFailed {
			t.Logf("section %s: %s", s.Name, s.Error)
		}
		for _, h := range s.Hardware {
			classes[h.Class] = map[string]string{}
			for _, p := range h.Properties {
				classes[h.Class][p.Name] = p.Value
			}
		}
	}
	for _, want := range [][2]string{
		{"Win32_ComputerSystem", "TotalPhysicalMemory"}, {"Win32_ComputerSystem", "NumberOfLogicalProcessors"},
		{"Win32_OperatingSystem", "Caption"}, {"Win32_OperatingSystem", "KernelVersion"}, {"Win32_OperatingSystem", "OSArchitecture"},
		{"Win32_Processor", "DeviceID"}, {"MGS_Identity", "AgentID"},
	} {
		if classes[want[0]][want[1]] == "" {
			t.Errorf("%s.%s is not known", want[0], want[1])
		}
	}
}

func TestProcessorCountsCores(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs linux: elsewhere cores are not counted")
	}
	numbered := []cpu.InfoStat{{CoreID: "0"}, {CoreID: "1"}, {CoreID: "0"}, {CoreID: "1"}}
	if n := cores(numbered); n != 2 {
		t.Errorf("four threads on two cores count as %d cores", n)
	}
	if n := cores(make([]cpu.InfoStat, 4)); n != 4 {
		t.Errorf("four threads on cores without numbers count as %d cores", n)
	}
}
