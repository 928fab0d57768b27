package config

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	prefix      = "BEACON_"
	agentPrefix = "BEACON_AGENT_" // the other program's
)

// environment overlays BEACON_… variables: BEACON_LIMITS_IDLE is limits.idle,
// and a list is separated by commas. BEACON_LISTEN and BEACON_LISTEN_TLS are
// what the flags of these names are, and BEACON_CONFIG is read by who calls.
func (c *Config) environment(environ []string) (unknown []string, ms Mistakes) {
	fields := leaves(reflect.ValueOf(c).Elem(), "")
	var listen, listenTLS []string
	for _, kv := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, prefix) || value == "" {
			continue
		}
		key := strings.ToLower(strings.TrimPrefix(name, prefix))
		f, ours := fields[key]
		switch {
		case key == "config":
		case key == "listen":
			listen = commas(value)
		case key == "listen_tls":
			listenTLS = commas(value)
		case ours:
			ms = append(ms, set(f, name, value)...)
		case !strings.HasPrefix(name, agentPrefix):
			unknown = append(unknown, name)
		}
	}
	c.listen(listen, listenTLS)
	return unknown, ms
}

// leaves maps keys joined by underscores to the fields that one string can set.
func leaves(v reflect.Value, at string) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		f := v.Field(i)
		key := at + v.Type().Field(i).Tag.Get("yaml")
		switch {
		case f.Kind() == reflect.Struct:
			maps.Copy(out, leaves(f, key+"_"))
		case f.Kind() == reflect.Slice && f.Type().Elem() == reflect.TypeFor[Prefix](), f.Kind() == reflect.String, f.CanInt():
			out[key] = f
		}
	}
	return out
}

func set(f reflect.Value, name, value string) Mistakes {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
	if f.Kind() == reflect.Slice {
		n = &yaml.Node{Kind: yaml.SequenceNode}
		for _, s := range commas(value) {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: s})
		}
	}
	if f.Kind() == reflect.String {
		f.SetString(value)
		return nil
	}
	err := n.Decode(f.Addr().Interface())
	if err == nil {
		return nil
	}
	ms := parseErrors("environment", err)
	for i := range ms {
		ms[i].Key, ms[i].Line = name, 0
	}
	return ms
}

func commas(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// flags overlays what the command line says.
func (c *Config) flags(f Flags) {
	for to, from := range map[*string]string{&c.Data: f.Data, &c.Admin: f.Admin, &c.Metrics: f.Metrics, &c.Name: f.Name} {
		if from != "" {
			*to = from
		}
	}
	c.listen(f.Listen, f.ListenTLS)
}

// listen replaces the listeners by anonymous ones on the given addresses. A
// TLS listener keeps the certificate that is configured, or gets the one in
// the data directory.
func (c *Config) listen(plain, secure []string) {
	if len(plain)+len(secure) == 0 {
		return
	}
	var tls *TLS
	for _, l := range c.Listeners {
		if l.TLS != nil {
			tls = l.TLS
		}
	}
	if len(plain) > 0 || len(secure) == 0 {
		c.Listeners = slices.DeleteFunc(c.Listeners, func(l Listener) bool { return l.TLS == nil })
	}
	if len(secure) > 0 {
		c.Listeners = slices.DeleteFunc(c.Listeners, func(l Listener) bool { return l.TLS != nil })
	}
	for _, a := range plain {
		c.Listeners = append(c.Listeners, Listener{Address: a, Access: AccessAnonymous})
	}
	for _, a := range secure {
		if tls == nil {
			tls = &TLS{}
		}
		own := *tls
		c.Listeners = append(c.Listeners, Listener{Address: a, Access: AccessAnonymous, TLS: &own})
	}
}

// KeyPair returns the files of a listener's certificate and key, which are in
// the data directory unless the configuration names others.
func (c *Config) KeyPair(t *TLS) (certificate, key string, configured bool) {
	if t.Certificate != "" {
		return t.Certificate, t.Key, true
	}
	return filepath.Join(c.Data, KeysDir, "tls.crt"), filepath.Join(c.Data, KeysDir, "tls.key"), false
}
