package revision

import "os"

// A loader turns digests into contents, each once, and keeps small ones in
// memory as long as there is room for them.
type loader struct {
	root   *os.Root
	before map[string]*Content // what an earlier snapshot had loaded, by digest in hex
	held   map[string]*Content
	room   int64
}

func newLoader(root *os.Root, before map[string]*Content) *loader {
	return &loader{root: root, before: before, held: map[string]*Content{}, room: maxAllMemory}
}

func (l *loader) load(digest string, size int64) (*Content, error) {
	if c := l.held[digest]; c != nil {
		return c, nil
	}
	c := l.before[digest]
	if c == nil || c.Body == nil {
		var err error
		if c, err = l.read(digest, size); err != nil {
			return nil, err
		}
	}
	if c.Body != nil {
		l.room -= c.Size
	}
	l.held[digest] = c
	return c, nil
}

func (l *loader) read(digest string, size int64) (*Content, error) {
	if size > maxInMemory || size > l.room {
		return onDisk(l.root, digest, size)
	}
	b, err := readObject(l.root, digest)
	if err != nil {
		return nil, err
	}
	return newContent(b), nil
}

func onDisk(root *os.Root, digest string, size int64) (*Content, error) {
	d, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	return &Content{Digest: d, ETag: etag(d), Size: size, root: root}, nil
}
