package wire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"inventorybeacon/policy"
)

// schema is the version of the two formats of our own, settings and failover.
// A reader takes it and older ones, and refuses newer.
const schema = 1

// WriteSettings writes a settings body, a format of our own: it is offered to
// our own agent only.
func WriteSettings(s policy.Settings) ([]byte, error) {
	w := newWriter("")
	w.open(0, "Settings", "Schema", strconv.Itoa(schema))
	for _, section := range slices.Sorted(maps.Keys(s)) {
		w.open(1, "Section", "Name", section)
		for _, name := range slices.Sorted(maps.Keys(s[section])) {
			w.empty(2, "Setting", "Name", name, "Value", s[section][name])
		}
		w.close(1, "Section")
	}
	w.close(0, "Settings")
	return w.bytes()
}

// ReadSettings reads what WriteSettings wrote.
func ReadSettings(b []byte) (policy.Settings, error) {
	root, err := ours(b, "settings")
	if err != nil {
		return nil, err
	}
	all := policy.Settings{}
	for _, section := range root.children {
		if section.name != "section" {
			continue
		}
		values := map[string]string{}
		for _, e := range section.children {
			if e.name == "setting" {
				values[e.attr("name")] = e.attr("value")
			}
		}
		all[section.attr("name")] = values
	}
	return all, nil
}

// ours parses a document of a format of our own.
func ours(b []byte, name string) (*element, error) {
	root, err := parse(b)
	if err != nil {
		return nil, err
	}
	if root.name != name {
		return nil, fmt.Errorf("%w: <%s> instead of <%s>", ErrSyntax, root.name, name)
	}
	version, err := strconv.Atoi(root.attr("schema"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: <%s> without a schema version", ErrSyntax, name)
	case version > schema:
		return nil, fmt.Errorf("%s of schema %d: %w (this one reads up to %d)", name, version, policy.ErrTooNew, schema)
	}
	return root, nil
}
