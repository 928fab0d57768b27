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
			if r.Type == journal.TypeMarks {
				marks, _ := journal.DecodeMarks(r.Meta, r.Seq)
				for _, k := range marks {
					fmt.Fprintf(&out, " [%d of %d: %s%s left %v]", k.Event, k.Seq, k.Sink, k.Reason, k.Left)
				}
			}
			if u, err := journal.DecodeUpload(r.Meta, r.Seq); err == nil && r.Type == journal.TypeUpload {
				fmt.Fprintf(&out, " %s %d", u.Name, u.Seq)
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}
