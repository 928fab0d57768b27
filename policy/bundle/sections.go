package bundle

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"inventorybeacon/failover"
	"inventorybeacon/policy"

	"go.yaml.in/yaml/v3"
)

func (r *manifest) schedule(v *yaml.Node) {
	if v.Kind != yaml.SequenceNode {
		r.wrong(v, "schedule must be a list of events")
		return
	}
	lines := map[string]int{}
	for _, item := range v.Content {
		text, where := r.event(item)
		if text == nil {
			continue
		}
		folded := strings.ToLower(text.Name)
		if folded != "" && lines[folded] > 0 {
			r.wrong(item, "event %q is there already, in line %d", text.Name, lines[folded])
		}
		lines[folded] = item.Line
		e, mistakes := text.Event()
		for _, m := range mistakes {
			if line := where.line(m.Field, item.Line); line > 0 {
				r.add(ManifestName, line, "event %q: %s %s", text.Name, m.Field, m.Problem)
			}
		}
		r.to.Schedule = append(r.to.Schedule, e)
	}
}

// places are the lines of the fields of an event, named as in mistakes. One
// below zero is that of a field that was not understood: nothing more is said of it.
type places map[string]int

// line returns the line of the field, or of what holds it.
func (p places) line(field string, otherwise int) int {
	for field != "" {
		if n, ok := p[field]; ok {
			return n
		}
		field = field[:max(strings.LastIndex(field, "."), 0)]
	}
	return otherwise
}

// at notes where field is, and whether read understood it.
func (r *manifest) at(p places, field string, n *yaml.Node, read func()) {
	before := len(r.Mistakes)
	read()
	p[field] = n.Line
	if len(r.Mistakes) > before {
		p[field] = -n.Line
	}
}

// event reads one event; nil if it is none.
func (r *manifest) event(n *yaml.Node) (*policy.EventText, places) {
	e, where := &policy.EventText{}, places{}
	text := func(to *string) func(k, v *yaml.Node) {
		return func(k, v *yaml.Node) {
			r.at(where, k.Value, k, func() { r.text(v, k.Value, to) })
		}
	}
	r.fields(n, "an event", map[string]func(k, v *yaml.Node){
		"event": text(&e.Name), "run": text(&e.Run), "catchup": text(&e.Catchup),
		"triggers": func(k, v *yaml.Node) {
			r.at(where, k.Value, k, func() { r.triggers(v, where, e) })
		},
	})
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	return e, where
}

func (r *manifest) triggers(v *yaml.Node, where places, e *policy.EventText) {
	if v.Kind != yaml.SequenceNode {
		r.wrong(v, "triggers must be a list")
		return
	}
	for i, item := range v.Content {
		e.Triggers = append(e.Triggers, r.trigger(item, where, fmt.Sprintf("triggers[%d]", i)))
	}
}

func (r *manifest) trigger(n *yaml.Node, where places, at string) (t policy.TriggerText) {
	read := func(do func(k, v *yaml.Node)) func(k, v *yaml.Node) {
		return func(k, v *yaml.Node) {
			r.at(where, at+"."+k.Value, k, func() { do(k, v) })
		}
	}
	text := func(to *string) func(k, v *yaml.Node) {
		return read(func(k, v *yaml.Node) { r.text(v, k.Value, to) })
	}
	r.fields(n, "a trigger", map[string]func(k, v *yaml.Node){
		"type": text(&t.Type), "at": text(&t.At), "start": text(&t.Start),
		"repeat": text(&t.Repeat), "for": text(&t.For), "window": text(&t.Window),
		"every":    read(func(_, v *yaml.Node) { r.number(v, "every", &t.Every) }),
		"weekdays": read(func(k, v *yaml.Node) { r.list(v, k.Value, &t.Weekdays, nil) }),
		"days":     read(func(_, v *yaml.Node) { r.days(v, &t.Days) }),
	})
	where[at] = n.Line
	if n.Kind != yaml.MappingNode {
		where[at], where[at+".type"] = -n.Line, -n.Line
	}
	return t
}

func (r *manifest) days(v *yaml.Node, to *[]int) {
	if v.Kind != yaml.SequenceNode {
		r.wrong(v, "days must be a list of numbers, such as [1, 15]")
		return
	}
	for _, item := range v.Content {
		var d int
		r.number(item, "days", &d)
		*to = append(*to, d)
	}
}

func (r *manifest) failover(v *yaml.Node) {
	f := &policy.Failover{}
	r.to.Failover = f
	r.fields(v, "failover", map[string]func(k, v *yaml.Node){
		"selector": func(_, v *yaml.Node) { r.selector(v, f) },
		"beacons": func(_, v *yaml.Node) {
			if v.Kind != yaml.SequenceNode {
				r.wrong(v, "beacons must be a list")
				return
			}
			for _, item := range v.Content {
				r.beacon(item, f)
			}
		},
	})
}

func (r *manifest) selector(v *yaml.Node, f *policy.Failover) {
	if !r.text(v, "selector", &f.Selector) {
		return
	}
	_, warnings, err := failover.ParseChain(f.Selector)
	if err != nil {
		r.wrong(v, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	for _, w := range warnings {
		r.to.Warnings = append(r.to.Warnings, "failover: "+w)
	}
}

// The incumbent's directories, which a bare url means.
const downloadDirectory, uploadDirectory = "ManageSoftDL", "ManageSoftRL"

func (r *manifest) beacon(n *yaml.Node, f *policy.Failover) {
	b := policy.Beacon{Priority: policy.DefaultPriority}
	var root string
	r.fields(n, "a beacon", map[string]func(k, v *yaml.Node){
		"name":          func(k, v *yaml.Node) { r.text(v, k.Value, &b.Name) },
		"url":           func(k, v *yaml.Node) { r.address(k, v, &root) },
		"download":      func(k, v *yaml.Node) { r.address(k, v, &b.Download) },
		"upload":        func(k, v *yaml.Node) { r.address(k, v, &b.Upload) },
		"priority":      func(_, v *yaml.Node) { r.priority(v, &b) },
		"auto_priority": func(k, v *yaml.Node) { r.flag(v, k.Value, &b.Auto) },
		"proxy":         func(_, v *yaml.Node) { r.proxy(v, &b.Proxy) },
	})
	if n.Kind != yaml.MappingNode {
		return
	}
	switch url, own := value(n, "url") != nil, value(n, "download") != nil || value(n, "upload") != nil; {
	case url && own:
		r.wrong(n, "beacon %q has url, and download or upload as well: give one or the other", b.Name)
	case !url && !own:
		r.wrong(n, "beacon %q has neither url nor download and upload", b.Name)
	}
	switch name := value(n, "name"); {
	case name == nil || name.Kind == yaml.ScalarNode && b.Name == "":
		r.wrong(n, "a beacon has no name")
	case slices.ContainsFunc(f.Beacons, func(o policy.Beacon) bool { return b.Name != "" && strings.EqualFold(o.Name, b.Name) }):
		r.wrong(n, "beacon %q is there twice", b.Name)
	}
	if root != "" {
		b.Download, b.Upload = root+"/"+downloadDirectory, root+"/"+uploadDirectory
	}
	f.Beacons = append(f.Beacons, b)
}

func (r *manifest) address(k, v *yaml.Node, to *string) {
	var s string
	if !r.text(v, k.Value, &s) {
		return
	}
	if why := badAddress(s); why != "" {
		r.wrong(v, "%s: %s", k.Value, why)
	}
	*to = strings.TrimRight(s, "/")
}

func (r *manifest) proxy(v *yaml.Node, to *string) {
	r.text(v, "proxy", to) // empty if it is none
	if why := badProxy(*to); why != "" {
		r.wrong(v, "proxy: %s", why)
	}
}

func (r *manifest) priority(v *yaml.Node, b *policy.Beacon) {
	if strings.EqualFold(v.Value, "invalid") {
		b.Invalid = true
		return
	}
	r.number(v, "priority", &b.Priority)
}

func badAddress(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Sprintf("%q is not an address such as https://beacon.example.com", s)
	case u.User != nil:
		return "it holds a user or password, which every device could read"
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Sprintf("%q has something behind the path", s)
	}
	return ""
}

func badProxy(s string) string {
	if s == "" || s == failover.Direct {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5":
		return fmt.Sprintf("%q is neither a proxy such as http://proxy:3128 nor %q", s, failover.Direct)
	case u.User != nil:
		return "it holds a user or password, which every device could read"
	}
	return ""
}
