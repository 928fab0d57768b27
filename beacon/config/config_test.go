package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "beacon.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDefaultsWorkAlone(t *testing.T) {
	c, unknown, err := config.Load(config.Sources{})
	if err != nil || len(unknown) > 0 {
		t.Fatalf("%v, %q", err, unknown)
	}
	if c.Data != "beacon-data" || c.Admin != "127.0.0.1:8090" || len(c.Listeners) != 1 || c.Listeners[0].Address != "127.0.0.1:8080" {
		t.Errorf("%+v", c)
	}
	if len(c.Relay) != 1 || c.Relay[0].Directory.Path != filepath.Join("beacon-data", "relayed") || !c.Relay[0].IsRequired() {
		t.Errorf("relay %+v", c.Relay)
	}
}

func TestExampleParses(t *testing.T) {
	c, _, err := config.Load(config.Sources{File: "../../docs/beacon.example.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listeners) != 2 || c.Listeners[1].TLS.MinVersion != "1.3" || len(c.Relay) != 5 || c.Relay[1].IsRequired() || !c.Relay[2].IsRequired() {
		t.Errorf("%+v", c)
	}
	if k, ok := c.UploadKinds().ByFolder("printers"); !ok || k.MaxBytes != 10<<20 || k.Extensions[0] != ".csv" {
		t.Errorf("kind %+v", k)
	}
	if k, ok := c.UploadKinds().ByFolder("inventories"); !ok || k.MaxBytes != 256<<20 || !slices.Contains(k.Extensions, ".ndi") {
		t.Errorf("kind %+v", k)
	}
	// Where it says what the default is, that is the default.
	d := config.Default()
	if c.Spool != d.Spool || c.Limits != d.Limits || c.Roots != d.Roots || c.Log != d.Log || c.Settle != d.Settle || c.Drop != d.Drop || c.Admin != d.Admin {
		t.Errorf("the example does not show the defaults: %+v, %+v", c, d)
	}
}

func TestMistakesAreFoundAllAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string // "line: words"
	}{
		{"unknown keys and wrong types", "data: /x\nfoo: 1\nlimits:\n  in_flight: many\n  idle: soon\n  idel: 3s\nspool:\n  memory_budget: lots\nagent_networks: [10.0.0.0/8, nonsense]\n",
			[]string{`2: unknown key "foo"`, "4: `many` was found where a number is wanted", "5: `soon` was found where a duration", `6: unknown key "idel"`, `8: "lots" is no size`, `9: "nonsense" is no network`}},
		{"unknown keys beside values that do not do", "listenrs: []\nname: a/b\nlimits: {idle: 0s}\ndrop: perhaps\n",
			[]string{`1: unknown key "listenrs"`, "2: name:", "3: limits.idle:", "4: drop:"}},
		{"what cannot be read is not missing too", "listeners:\n  - address: [80]\n    access: enrolled\nrelay:\n  - name: a\n    directory: here\n  - name: a\n    s3: {endpoint: \"http://s\"}\ndrop: perhaps\n",
			[]string{"2: a list was found where a string is wanted", "3: listeners[0].access:", "6: `here` was found where a group of keys is wanted", "7: relay[1].name:", "8: relay[1].s3.bucket:", "9: drop:"}},
		{"no list at all", "listeners: 80\ndrop: perhaps\n", []string{"1: `80` was found where a list is wanted", "2: drop:"}},
		{"two documents", "name: a\n---\nname: b\n", []string{"a second document"}},
		{"values that do not do", "name: a/b\nlisteners:\n  - address: 80\n    access: anonymous\n  - address: 0.0.0.0:80\n    access: enrolled\n  - address: 0.0.0.0:443\n    tls: {certificate: a, min_version: \"1.1\"}\nlimits: {idle: 0s}\ndrop: stage\n",
			[]string{"1: name:", "3: listeners[0].address:", "6: listeners[1].access: agents cannot enrol", "7: listeners[2].access:", "8: listeners[2].tls: needs both", "8: listeners[2].tls.min_version:", "9: limits.idle:", "10: drop:"}},
		{"relay", "relay:\n  - name: a\n    directory: {path: x, max_files: -1}\n  - name: a\n    kinds: [Nonsense]\n    s3: {endpoint: x}\n  - name: b b\n  - name: c\n    directory: {path: x}\n    beacon: {url: http://b/}\n",
			[]string{"3: relay[0].directory.max_files:", "4: relay[1].name:", "5: relay[1].kinds:", "6: relay[1].s3.bucket:", "6: relay[1].s3.endpoint:", "7: relay[2]: needs exactly one", "7: relay[2].name:", "8: relay[3]: needs exactly one"}},
		{"kinds and roots", "kinds:\n  New: {max: 1MB}\n  \"a/b\": {extensions: [\".x\"]}\n  Logs: {extensions: [LOG]}\nroots: {download: a, upload: A}\nunknown_kinds: maybe\n",
			[]string{"2: kinds.New.extensions:", "3: kinds.a/b:", "4: kinds.Logs.extensions:", "5: roots.upload:", "6: unknown_kinds:"}},
		{"no YAML", "data: [\n", []string{"did not find expected node content"}},
		{"two of one key", "data: a\ndata: b\n", []string{`2: mapping key "data" already defined`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := write(t, tt.text)
			_, _, err := config.Load(config.Sources{File: file})
			ms, ok := errors.AsType[config.Mistakes](err)
			if !ok || len(ms) != len(tt.want) {
				t.Fatalf("%d mistakes, want %d:\n%v", len(ms), len(tt.want), err)
			}
			for i, m := range ms {
				if got := m.String(); !strings.HasPrefix(got, file+":") || !strings.Contains(got, tt.want[i]) {
					t.Errorf("%s, want %s", got, tt.want[i])
				}
			}
		})
	}
}

func TestAccessMustBeSaid(t *testing.T) {
	file := write(t, "listeners:\n  - address: 127.0.0.1:80\n")
	_, _, err := config.Load(config.Sources{File: file})
	if err == nil || !strings.Contains(err.Error(), "access: anonymous") {
		t.Errorf("no hint: %v", err)
	}
	if _, _, err := config.Load(config.Sources{File: write(t, "listeners:\n  - {address: \"127.0.0.1:80\", access: anonymous}\n")}); err != nil {
		t.Error(err)
	}
}

func TestStrongerSourceWins(t *testing.T) {
	file := write(t, "data: /file\nname: from-file\nadmin: 127.0.0.1:1\nlimits: {idle: 10s}\nlisteners:\n  - {address: \"127.0.0.1:2\", access: anonymous}\n  - address: 127.0.0.1:3\n    access: anonymous\n    tls: {certificate: c, key: k}\n")
	env := []string{"BEACON_DATA=/env", "BEACON_LIMITS_IDLE=20s", "BEACON_AGENT_NETWORKS=10.0.0.0/8", "BEACON_TRUSTED_PROXIES=192.0.2.1, 2001:db8::/32",
		"BEACON_SPOOL_MEMORY_BUDGET=8MiB", "BEACON_SERVICE_HOST=10.1.1.1", "BEACON_CONFIG=x", "PATH=/bin", "BEACON_LISTEN=127.0.0.1:4", "BEACON_NAME="}
	c, unknown, err := config.Load(config.Sources{File: file, Environ: env, Flags: config.Flags{Data: "/flag", ListenTLS: []string{"127.0.0.1:5"}}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != "/flag" || c.Name != "from-file" || c.Limits.Idle != 20*time.Second || c.Spool.Memory != 8<<20 {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(unknown, []string{"BEACON_SERVICE_HOST"}) {
		t.Errorf("unknown %q", unknown)
	}
	if got := config.Addrs(c.TrustedProxies); !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32")}) {
		t.Errorf("proxies %v", got)
	}
	if got := config.Addrs(c.AgentNetworks); !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}) {
		t.Errorf("networks %v", got)
	}
	if len(c.Listeners) != 2 || c.Listeners[0].Address != "127.0.0.1:4" || c.Listeners[1].Address != "127.0.0.1:5" || c.Listeners[1].TLS.Certificate != "c" {
		t.Errorf("listeners %+v", c.Listeners)
	}
	if c.Relay[0].Directory.Path != filepath.Join("/flag", "relayed") {
		t.Errorf("relay %+v", c.Relay[0].Directory)
	}
}

func TestEnvironmentMistakeIsNamed(t *testing.T) {
	_, _, err := config.Load(config.Sources{Environ: []string{"BEACON_LIMITS_IDLE=soon", "BEACON_AGENT_NETWORKS=x"}})
	if err == nil || !strings.Contains(err.Error(), "environment: BEACON_LIMITS_IDLE: ") || !strings.Contains(err.Error(), "environment: BEACON_AGENT_NETWORKS: ") {
		t.Errorf("%v", err)
	}
}

func TestFlagMistakeIsNotBlamedOnFile(t *testing.T) {
	_, _, err := config.Load(config.Sources{File: write(t, "name: a\n"), Flags: config.Flags{Listen: []string{"80"}}})
	if err == nil || err.Error() != `flags or environment: listeners[0].address: "80" is no address; write for example 0.0.0.0:8080` {
		t.Errorf("%v", err)
	}
}

func TestAgentsVariablesAreLeftAlone(t *testing.T) {
	c, unknown, err := config.Load(config.Sources{Environ: []string{"BEACON_AGENT_DATA=/x", "BEACON_AGENT_NAME=y"}})
	if err != nil || len(unknown) > 0 || c.Data == "/x" || c.Name == "y" {
		t.Errorf("%+v, %q, %v", c, unknown, err)
	}
}

func TestListenTypedIsAnonymous(t *testing.T) {
	c, _, err := config.Load(config.Sources{Flags: config.Flags{ListenTLS: []string{"127.0.0.1:0"}, Data: "/d"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listeners) != 2 || c.Listeners[1].Access != config.AccessAnonymous {
		t.Fatalf("%+v", c.Listeners)
	}
	crt, key, configured := c.KeyPair(c.Listeners[1].TLS)
	if crt != filepath.Join("/d", "keys", "tls.crt") || key != filepath.Join("/d", "keys", "tls.key") || configured {
		t.Errorf("%s, %s, %v", crt, key, configured)
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	c, _, err := config.Load(config.Sources{File: write(t, "relay:\n  - name: a\n    s3: {endpoint: \"http://s\", bucket: b, access_key: k, secret_key: canary}\n")})
	if err != nil {
		t.Fatal(err)
	}
	s := c.Relay[0].S3
	if s.SecretKey.Reveal() != "canary" {
		t.Errorf("revealed %q", s.SecretKey.Reveal())
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(*s), fmt.Sprintf("%+v %#v %q %x %d", *s, *s, s.SecretKey, s.SecretKey, s.SecretKey), string(j)} {
		if strings.Contains(shown, "canary") || strings.Contains(shown, fmt.Sprintf("%x", "canary")) {
			t.Errorf("shown: %s", shown)
		}
	}
}
