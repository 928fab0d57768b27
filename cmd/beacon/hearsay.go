package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
)

// A hearsay passes on what a child says: each line behind the column of names,
// and its log shortened to what a person reads.
type hearsay struct {
	w    io.Writer
	line []byte // begun and not ended
}

func (h *hearsay) Write(p []byte) (int, error) {
	h.line = append(h.line, p...)
	for {
		line, rest, ok := bytes.Cut(h.line, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if _, err := fmt.Fprintf(h.w, "        %s\n", shorten(line)); err != nil {
			return 0, err
		}
		h.line = rest
	}
}

var (
	logPrefix = regexp.MustCompile(`^time=\S+ level=(?:(WARN |ERROR )|\S+ )msg=(?:"([^"]*)"|(\S+))`)
	logFetch  = regexp.MustCompile(`^document fetched path="?(.*?)"? status=(\d+) bytes=(\d+).*`)
	logDigest = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{52}\b`)
)

func shorten(line []byte) []byte {
	line = logPrefix.ReplaceAll(line, []byte("$1$2$3"))
	line = logFetch.ReplaceAll(line, []byte("GET $2 $1 ($3 bytes)"))
	return logDigest.ReplaceAll(line, []byte("$1…"))
}
