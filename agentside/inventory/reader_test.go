package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadSummaryRefuses(t *testing.T) {
	const doctype = `<!DOCTYPE Inventory PUBLIC "Inventory" "http://www.managesoft.com/inventory.dtd">`
	root := `<Inventory machinename="m" SCOPE="d" Type="Full">`
	sound := doctype + root + `<Section Name="a" Status="ok" Count="1"/><Package Name="p"/></Inventory>`
	sum, err := ReadSummary(strings.NewReader(sound))
	if err != nil || sum.MachineName != "m" || sum.Scope != "d" || sum.Packages != 1 || len(sum.Sections) != 1 {
		t.Fatalf("the sound document gives %+v, %v", sum, err)
	}
	for name, s := range map[string]string{
		"nothing":            "",
		"no root":            doctype,
		"an internal subset": `<!DOCTYPE Inventory [<!ENTITY a "b">]>` + root + `</Inventory>`,
		"an entity":          doctype + root + `&a;</Inventory>`,
		"another root":       doctype + `<USAGE/>`,
		"two roots":          sound + root + `</Inventory>`,
		"a cut":              sound[:len(sound)-1],
		"a cut between tags": strings.TrimSuffix(sound, "</Inventory>"),
		"a bad count":        strings.Replace(sound, `Count="1"`, `Count="x"`, 1),
		"depth":              doctype + root + strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20) + `</Inventory>`,
	} {
		if sum, err := ReadSummary(strings.NewReader(s)); err == nil {
			t.Errorf("%s: no error, but %+v", name, sum)
		}
	}
}

func FuzzReadSummary(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join(fixtures, "debian12.ndi"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(golden))
	f.Add(`<Inventory><Section Count="-1"/></Inventory>`)
	f.Fuzz(func(t *testing.T, s string) {
		if sum, err := ReadSummary(strings.NewReader(s)); err == nil && sum.Packages+sum.Hardware > len(s) {
			t.Errorf("%d entries in %d bytes", sum.Packages+sum.Hardware, len(s))
		}
	})
}
