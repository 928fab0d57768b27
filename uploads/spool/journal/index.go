package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"iter"
	"slices"
)

// An index lists a segment's records with their metadata, so that opening a
// spool reads no bodies. The footer, the last page of the file, says where it is.
//
// Each entry is: type, offset in blocks, number, count, mark, body length and
// metadata's length as varints, then the metadata.

const (
	footerMagic = "IBindex\n"
	footerBytes = 56

	// indexEntry bounds an entry without its metadata: seven varints.
	indexEntry = 7 * binary.MaxVarintLen64
)

// IndexBytes is the most that r takes in an index.
func IndexBytes(r Record) int64 { return indexEntry + int64(len(r.Meta)) }

// Room says whether a segment of the given capacity, filled up to end by
// records whose index takes up to index bytes, stays within it when sealed.
func Room(capacity, end, index int64) bool { return Capacity(end, index) <= capacity }

// Capacity is the least for which there is [Room].
func Capacity(end, index int64) int64 { return AlignPage(end) + AlignPage(index) + Page }

// CopyCapacity is the least capacity of a segment that a copy of an upload's
// record fits in, which so far has that much metadata and body, behind start.
func CopyCapacity(start, meta, body int64) int64 {
	const number = 2 + binary.MaxVarintLen64 // the copy says whose it is
	r := Record{BodyLen: RecordHeader + meta + number + body}
	return Capacity(start+r.Len(), indexEntry+meta+number)
}

// WriteIndex writes the index of a segment's sound records to offset at. It
// returns the index's length, and the footer, which goes into the last page of the
// file: for a segment that grew, the page behind the index.
func WriteIndex(f io.WriterAt, h Header, records iter.Seq[Record], at int64) (n int64, footer []byte, err error) {
	sum, count := crc32.New(castagnoli), uint64(0)
	w := bufio.NewWriterSize(io.MultiWriter(sum, io.NewOffsetWriter(f, at)), indexBuffer)
	var entry []byte
	for r := range records {
		entry = appendIndex(entry[:0], r)
		if _, err := w.Write(entry); err != nil {
			return 0, nil, err
		}
		n += int64(len(entry))
		count++
	}
	if err := w.Flush(); err != nil {
		return 0, nil, err
	}
	footer = make([]byte, Page)
	le := binary.LittleEndian
	copy(footer, footerMagic)
	le.PutUint64(footer[8:], h.Generation)
	le.PutUint64(footer[16:], uint64(at))
	le.PutUint64(footer[24:], uint64(n))
	le.PutUint64(footer[32:], count)
	le.PutUint32(footer[48:], sum.Sum32())
	le.PutUint32(footer[52:], crc32.Checksum(footer[:52], castagnoli))
	return n, footer, nil
}

func appendIndex(b []byte, r Record) []byte {
	b = binary.AppendUvarint(b, uint64(r.Type))
	b = binary.AppendUvarint(b, uint64(r.Offset/Block))
	b = binary.AppendUvarint(b, r.Seq)
	b = binary.AppendUvarint(b, uint64(r.Count))
	b = binary.AppendUvarint(b, r.Mark)
	b = binary.AppendUvarint(b, uint64(r.BodyLen))
	b = binary.AppendUvarint(b, uint64(len(r.Meta)))
	return append(b, r.Meta...)
}

// An Index is the index of a sealed segment, which speaks for its records
// without their being read.
type Index struct {
	f      io.ReaderAt
	header Header
	at, n  int64
	count  uint64
}

// OpenIndex finds and checks a segment's index; ok is false if it is not sealed
// or the index is damaged, and the segment must be scanned.
func OpenIndex(f io.ReaderAt, h Header, size int64) (x *Index, ok bool) {
	le := binary.LittleEndian
	footer := make([]byte, footerBytes)
	if size < Start+Page {
		return nil, false
	}
	if _, err := f.ReadAt(footer, size-Page); err != nil {
		return nil, false
	}
	x = &Index{f: f, header: h, at: int64(le.Uint64(footer[16:])), n: int64(le.Uint64(footer[24:])), count: le.Uint64(footer[32:])}
	if string(footer[:8]) != footerMagic || le.Uint64(footer[8:]) != h.Generation ||
		le.Uint32(footer[52:]) != crc32.Checksum(footer[:52], castagnoli) ||
		x.at < Start || x.n < 0 || x.n > size || x.at > size-x.n {
		return nil, false
	}
	sum := crc32.New(castagnoli)
	if n, err := io.Copy(sum, x.section()); err != nil || n != x.n || sum.Sum32() != le.Uint32(footer[48:]) {
		return nil, false
	}
	return x, true
}

func (x *Index) section() io.Reader { return io.NewSectionReader(x.f, x.at, x.n) }

// Records yields the records in the order of their places, up to one that
// cannot be read. Their metadata is valid until the next one.
func (x *Index) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		b := bufio.NewReaderSize(x.section(), indexBuffer)
		var meta []byte
		for range x.count {
			var v [7]uint64
			for i := range v {
				n, err := binary.ReadUvarint(b)
				if err != nil {
					return
				}
				v[i] = n
			}
			if v[6] > MaxMeta {
				return
			}
			meta = slices.Grow(meta[:0], int(v[6]))[:v[6]]
			if _, err := io.ReadFull(b, meta); err != nil {
				return
			}
			r := Record{
				Type: Type(v[0]), Generation: x.header.Generation, Offset: int64(v[1]) * Block, Seq: v[2],
				Count: uint32(v[3]), Mark: v[4], BodyLen: int64(v[5]), Meta: meta, Intact: true,
			}
			if !yield(r) {
				return
			}
		}
	}
}

// indexBuffer is read or written of an index at once. More takes fewer calls, for
// a buffer at a time.
const indexBuffer = 64 << 10

// ReadIndex returns the records a sealed segment lists; ok is false if it is
// not sealed or the index is damaged, and the segment must be scanned.
func ReadIndex(f io.ReaderAt, h Header, size int64) (records []Record, ok bool) {
	x, ok := OpenIndex(f, h, size)
	if !ok {
		return nil, false
	}
	for r := range x.Records() {
		r.Meta = bytes.Clone(r.Meta)
		records = append(records, r)
	}
	return records, uint64(len(records)) == x.count
}

// A Summary is what the rules of the journal need of a segment all of whose
// records are known to be sound.
type Summary struct {
	Last    uint64 // the highest number in it
	Records int
	Cuts    []Record // of [TypeCut]
}

// Summary returns the summary of the segment; ok is false if its records do not
// follow each other without a gap, and have to be judged one by one.
func (x *Index) Summary() (s Summary, ok bool) {
	want := x.header.Base
	for r := range x.Records() {
		if r.Seq != want {
			return s, false
		}
		want = r.Last() + 1
		s.Last = r.Last()
		s.Records++
		if r.Type == TypeCut {
			r.Meta = bytes.Clone(r.Meta)
			s.Cuts = append(s.Cuts, r)
		}
	}
	return s, s.Records > 0 && uint64(s.Records) == x.count
}
