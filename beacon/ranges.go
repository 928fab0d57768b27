package beacon

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRanges is how many parts of a body one request may ask for; one that asks
// for more gets the whole. More serve stranger clients; each costs a seek and a
// header.
const maxRanges = 16

// A span is a part of a body.
type span struct{ start, length int64 }

func (s span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.start, s.start+s.length-1, size)
}

// parseRanges reads a Range header. No spans and no error mean that the whole
// is to be sent: the header is in another unit, malformed, or asks for more
// than it is worth. The error matches errBadRange if none of the parts exists.
func parseRanges(header string, size int64) ([]span, error) {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Count(set, ",") >= maxRanges {
		return nil, nil
	}
	var spans []span
	var total int64
	for spec := range strings.SplitSeq(set, ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue
		}
		s, ok := parseRange(spec, size)
		if !ok {
			return nil, nil
		}
		if s.length > 0 {
			spans = append(spans, s)
			total += s.length
		}
	}
	switch {
	case len(spans) == 0:
		return nil, errBadRange
	case len(spans) > 1 && total > size:
		return nil, nil // overlapping parts: more than the whole
	}
	return spans, nil
}

// parseRange reads "a-b", "a-" or "-n". The span is empty if it is beyond the end.
func parseRange(spec string, size int64) (span, bool) {
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return span{}, false
	}
	if first == "" {
		n, ok := digits(last)
		n = min(n, size)
		return span{size - n, n}, ok
	}
	start, ok := digits(first)
	if !ok {
		return span{}, false
	}
	end := size - 1
	if last != "" {
		e, ok := digits(last)
		if !ok || e < start {
			return span{}, false
		}
		end = min(e, end)
	}
	return span{start, max(0, end-start+1)}, true
}

func digits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<62 - 1, true // beyond any body
	}
	return n, true
}

func writeRange(w http.ResponseWriter, body io.ReadSeeker, s span, size int64) (int, error) {
	h := w.Header()
	h["Content-Range"] = []string{s.contentRange(size)}
	h["Content-Length"] = []string{strconv.FormatInt(s.length, 10)}
	w.WriteHeader(http.StatusPartialContent)
	return http.StatusPartialContent, copySpan(w, body, s)
}

// writeRanges writes a multipart/byteranges body of known length.
func writeRanges(w http.ResponseWriter, body io.ReadSeeker, spans []span, size int64, contentType string) (int, error) {
	boundary := rand.Text()
	heads := make([]string, len(spans))
	tail := "\r\n--" + boundary + "--\r\n"
	length := int64(len(tail))
	for i, s := range spans {
		heads[i] = fmt.Sprintf("\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n", boundary, contentType, s.contentRange(size))
		length += int64(len(heads[i])) + s.length
	}
	h := w.Header()
	h["Content-Type"] = []string{"multipart/byteranges; boundary=" + boundary}
	h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	w.WriteHeader(http.StatusPartialContent)
	for i, s := range spans {
		if _, err := io.WriteString(w, heads[i]); err != nil {
			return http.StatusPartialContent, err
		}
		if err := copySpan(w, body, s); err != nil {
			return http.StatusPartialContent, err
		}
	}
	_, err := io.WriteString(w, tail)
	return http.StatusPartialContent, err
}

func copySpan(w http.ResponseWriter, body io.ReadSeeker, s span) error {
	if _, err := body.Seek(s.start, io.SeekStart); err != nil {
		return err
	}
	return copyPieces(w, body, s.length)
}

// copyPieces copies n bytes, each piece within its time. The parts are copied
// by the response itself, which lets the system send a file.
func copyPieces(w http.ResponseWriter, r io.Reader, n int64) error {
	rc := http.NewResponseController(w)
	for n > 0 {
		rc.SetWriteDeadline(time.Now().Add(writeTime)) // a recorder in a test has none
		copied, err := io.CopyN(w, r, min(n, piece))
		if err != nil {
			return err
		}
		n -= copied
	}
	return nil
}
