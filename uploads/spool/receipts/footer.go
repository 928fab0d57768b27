package receipts

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"inventorybeacon/uploads/spool/journal"
)

const (
	runMagic    = "IBrcrun\n"
	footerMagic = "IBrcend\n"
	runVersion  = 1
	runHeader   = 16
	footerBytes = 112
)

func newRunHeader() []byte {
	b := make([]byte, runHeader)
	copy(b, runMagic)
	binary.LittleEndian.PutUint32(b[8:], runVersion)
	return b
}

// checkRunHeader refuses a newer version. Anything else is damage that the
// footer makes up for.
func checkRunHeader(b []byte) error {
	if v := binary.LittleEndian.Uint32(b[8:]); string(b[:8]) == runMagic && v > runVersion {
		return fmt.Errorf("%w: format %d, known is %d", journal.ErrNewer, v, runVersion)
	}
	return nil
}

// A footer is the last of a run, as it lies there.
type footer struct {
	Magic    [8]byte
	Entries  uint64
	Damaged  uint64 // blocks that could not be read when this was made of others
	First    uint64 // lowest and highest event number
	Last     uint64
	Newest   uint64 // highest number of an upload
	Losses   uint64
	LastLoss uint64
	LossAt   uint64 // where the losses are
	GuideAt  uint64 // where the guide is; heads and ages follow it
	Heads    uint32
	Ages     uint32
	GuideSum uint32 // CRC-32C of guide, heads and ages
	_        [16]byte
	Sum      uint32 // CRC-32C of everything before
}

func (f *footer) append(b []byte) []byte {
	copy(f.Magic[:], footerMagic)
	start := len(b)
	b, err := binary.Append(b, binary.LittleEndian, f)
	if err != nil {
		panic(err) // its fields have fixed sizes
	}
	sum := crc32.Checksum(b[start:len(b)-4], castagnoli)
	return binary.LittleEndian.AppendUint32(b[:len(b)-4], sum)
}

func (f *footer) read(b []byte) error {
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, f); err != nil {
		return err
	}
	if string(f.Magic[:]) != footerMagic || f.Sum != crc32.Checksum(b[:footerBytes-4], castagnoli) {
		return fmt.Errorf("footer %w", errDamaged)
	}
	return nil
}

// sections is how long guide, heads and ages are together.
func (f *footer) sections() int {
	n := int(f.Entries)
	return unaryBytes(n) + tagBytes(n) + startsBytes(n) + int(f.Heads)*headBytes + int(f.Ages)*ageBytes
}
