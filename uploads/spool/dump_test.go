package spool_test

import (
	"bytes"
	"fmt"
	"strings"

	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
)

// dump lists the segments of a disk, for the message of a failed test.
func dump(m *disktest.Memory) string {
	var out strings.Builder
	for _, name := range m.Names() {
		if !strings.HasSuffix(name, ".seg") {
			continue
		}
		b := m.Contents(name)
		h, torn, err := journal.DecodeHeader(b[:min(len(b), journal.Start)])
		if err != nil {
			fmt.Fprintf(&out, "%s: %v\n", name, err)
			continue
		}
		_, sealed := journal.ReadIndex(bytes.NewReader(b), h, int64(len(b)))
		fmt.Fprintf(&out, "%s: state %d base %d generation %x after %x torn %v sealed %v size %d\n",
			name, h.State, h.Base, h.Generation, h.Prev, torn, sealed, len(b))
		for _, r := range journal.Scan(bytes.NewReader(b), h, int64(len(b))) {
			fmt.Fprintf(&out, "  @%d type %d seq %d+%d mark %d intact %v", r.Offset, r.Type, r.Seq, r.Count, r.Mark, r.Intact)
			if c, err := journal.DecodeCut(r.Meta); err == nil && r.Type == journal.TypeCut {
				fmt.Fprintf(&out, " cut %x from %d", c.Generation, c.First)
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}
