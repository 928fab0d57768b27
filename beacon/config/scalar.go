package config

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v3"
)

// Bytes is an amount of data; in a file a number or, say, "64MiB".
type Bytes int64

// UnmarshalYAML implements [yaml.Unmarshaler].
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	v, err := humanize.ParseBytes(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode || v > 1<<62 {
		return mistake(n, "%q is no size; write for example 64MiB", n.Value)
	}
	*b = Bytes(v)
	return nil
}

// A Prefix is a network, in a file "192.0.2.0/24" or a single address.
type Prefix struct{ netip.Prefix }

// UnmarshalYAML implements [yaml.Unmarshaler].
func (p *Prefix) UnmarshalYAML(n *yaml.Node) error {
	if a, err := netip.ParseAddr(n.Value); err == nil {
		a = a.Unmap()
		p.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	v, err := netip.ParsePrefix(n.Value)
	if err != nil {
		return mistake(n, "%q is no network; write for example 192.0.2.0/24", n.Value)
	}
	p.Prefix = v.Masked()
	return nil
}

// A Secret is a string that does not print.
type Secret struct{ s string }

// Reveal returns what was hidden, for the one place that needs it.
func (s Secret) Reveal() string { return s.s }

const hidden = "(hidden)"

// String implements [fmt.Stringer] and shows nothing.
func (s Secret) String() string { return hidden }

// GoString implements [fmt.GoStringer] and shows nothing.
func (s Secret) GoString() string { return hidden }

// MarshalText implements [encoding.TextMarshaler] and shows nothing.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue implements [slog.LogValuer] and shows nothing.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Format implements [fmt.Formatter] so that no verb shows anything.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// UnmarshalYAML implements [yaml.Unmarshaler].
func (s *Secret) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return mistake(n, "a secret is one string")
	}
	s.s = n.Value
	return nil
}

// mistake is an error that does not keep the decoder from finding more.
func mistake(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)}}
}
