package beacon

import (
	"strconv"
	"strings"
)

// selected picks the coding that the client likes best, of equals the smallest.
func (ans *answer) selected(accept []string) *representation {
	if len(accept) == 0 || ans.gzip == nil && ans.zstd == nil {
		return ans.identity
	}
	q := qualities(accept)
	best, most := ans.identity, q.of("identity")
	for _, c := range [...]struct {
		name string
		rep  *representation
	}{{"gzip", ans.gzip}, {"zstd", ans.zstd}} {
		if c.rep == nil {
			continue
		}
		if v := q.of(c.name); v > most || v == most && v > 0 && c.rep.size < best.size {
			best, most = c.rep, v
		}
	}
	return best
}

// weights are thousandths; -1 where the client said nothing.
type weights struct{ gzip, zstd, identity, rest int }

func (q weights) of(coding string) int {
	v := q.identity
	switch coding {
	case "gzip":
		v = q.gzip
	case "zstd":
		v = q.zstd
	}
	switch {
	case v >= 0:
		return v
	case q.rest >= 0:
		return q.rest
	case coding == "identity":
		return 1 // always acceptable, never preferred
	}
	return 0
}

func qualities(lines []string) weights {
	q := weights{-1, -1, -1, -1}
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			v := quality(params)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip", "x-gzip":
				q.gzip = v
			case "zstd":
				q.zstd = v
			case "identity":
				q.identity = v
			case "*":
				q.rest = v
			}
		}
	}
	return q
}

// quality reads ";q=0.5". What cannot be read refuses the coding: sending
// plain bytes is never wrong.
func quality(params string) int {
	params = strings.TrimSpace(params)
	if params == "" {
		return 1000
	}
	key, value, _ := strings.Cut(params, "=")
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if !strings.EqualFold(strings.TrimSpace(key), "q") || err != nil || !(f >= 0 && f <= 1) {
		return 0
	}
	return int(f * 1000)
}
