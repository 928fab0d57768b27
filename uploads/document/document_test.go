package document_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"inventorybeacon/uploads/document"
)

const sound = `<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE Inventory PUBLIC "Inventory" "http://www.managesoft.com/inventory.dtd">
<Inventory Tracker="16.0" Scope="example.com" machinename="ws1" Type="Full"><Hardware Class="x"/>`

func zipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

// incompressible is text of which a compressed head holds little.
func incompressible() string {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "<Hardware Name=%q/>", fmt.Sprint(uint32(i)*2654435761))
	}
	return b.String()
}

func TestOriginIsReadFromTheRoot(t *testing.T) {
	want := document.Origin{Machine: "ws1", Scope: "example.com"}
	if got := document.OriginOf([]byte(sound), false); got != want {
		t.Errorf("plain: %+v", got)
	}
	whole := zipped(sound + incompressible())
	if got := document.OriginOf(whole[:document.CompressedHeadBytes], true); got != want {
		t.Errorf("the head of a compressed file: %+v", got)
	}
}

func TestOriginOfAnythingElseIsNothing(t *testing.T) {
	for name, head := range map[string]string{
		"empty":           "",
		"another root":    `<USAGE MachineName="ws1" Scope="example.com"/>`,
		"text":            "MachineName=ws1",
		"cut in the root": sound[:strings.Index(sound, "machinename")],
		"internal subset": `<!DOCTYPE Inventory [<!ENTITY e "x">]><Inventory MachineName="ws1"/>`,
		"other charset":   `<?xml version="1.0" encoding="koi8-r"?><Inventory MachineName="ws1"/>`,
		"zipped":          string(zipped(sound)),
	} {
		if got := document.OriginOf([]byte(head), false); got != (document.Origin{}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := document.OriginOf([]byte(sound), true); got != (document.Origin{}) {
		t.Errorf("not compressed: %+v", got)
	}
	bomb := zipped(strings.Repeat(" ", 1<<20) + sound)
	if got := document.OriginOf(bomb, true); got != (document.Origin{}) {
		t.Errorf("behind a megabyte of nothing: %+v", got)
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add([]byte(sound), false)
	f.Add(zipped(sound), true)
	f.Fuzz(func(t *testing.T, head []byte, compressed bool) { document.OriginOf(head, compressed) })
}
