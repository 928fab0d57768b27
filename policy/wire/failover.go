package wire

import (
	"fmt"
	"strconv"
	"strings"

	"inventorybeacon/policy"
)

// WriteFailover writes a failover body, a format of our own: it is offered to
// our own agent only.
func WriteFailover(f policy.Failover) ([]byte, error) {
	w := newWriter("")
	w.open(0, "Failover", "Schema", strconv.Itoa(schema), "Selector", f.Selector)
	for _, b := range f.Beacons {
		attrs := []string{"Name", b.Name, "Download", b.Download, "Upload", b.Upload, "Priority", strconv.Itoa(b.Priority)}
		if b.Auto {
			attrs = append(attrs, "AutoPriority", "true")
		}
		if b.Invalid {
			attrs = append(attrs, "Invalid", "true")
		}
		if b.Proxy != "" {
			attrs = append(attrs, "Proxy", b.Proxy)
		}
		w.empty(1, "Beacon", attrs...)
	}
	w.close(0, "Failover")
	return w.bytes()
}

// ReadFailover reads what WriteFailover wrote.
func ReadFailover(b []byte) (policy.Failover, error) {
	root, err := ours(b, "failover")
	if err != nil {
		return policy.Failover{}, err
	}
	f := policy.Failover{Selector: root.attr("selector")}
	for _, e := range root.children {
		if e.name != "beacon" {
			continue
		}
		priority, err := strconv.Atoi(e.attr("priority"))
		if err != nil {
			return policy.Failover{}, fmt.Errorf("%w: beacon %q: priority %q is not a number", ErrSyntax, e.attr("name"), e.attr("priority"))
		}
		f.Beacons = append(f.Beacons, policy.Beacon{
			Name: e.attr("name"), Download: e.attr("download"), Upload: e.attr("upload"), Priority: priority,
			Auto: yes(e.attr("autopriority")), Invalid: yes(e.attr("invalid")), Proxy: e.attr("proxy"),
		})
	}
	return f, nil
}

func yes(s string) bool { return strings.EqualFold(s, "true") || s == "1" }
