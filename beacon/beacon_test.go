package beacon_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/control"
)

// load makes a configuration for a beacon that disturbs nobody.
func load(t *testing.T, dir string, more config.Flags) *config.Config {
	t.Helper()
	more.Data, more.Admin = dir, "127.0.0.1:0"
	if more.Listen == nil {
		more.Listen = []string{"127.0.0.1:0"}
	}
	c, _, err := config.Load(config.Sources{Flags: more})
	if err != nil {
		t.Fatal(err)
	}
	c.Settle = 50 * time.Millisecond
	c.Spool.Segment = 1 << 20
	return c
}

// start runs a beacon until the test ends, or stop is called.
func start(t *testing.T, o beacon.Options) (at beacon.Addresses, stop func() error) {
	t.Helper()
	ready := make(chan beacon.Addresses, 1)
	o.Ready = func(a beacon.Addresses) { ready <- a }
	b, err := beacon.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	select {
	case at = <-ready:
	case err := <-done:
		stopped = true
		t.Fatalf("Run = %v", err)
	}
	return at, stop
}

func request(t *testing.T, client *http.Client, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, text(t, resp)
}

// eventually polls for what other processes and disks do in their own time.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

func TestBeaconServesAndRelays(t *testing.T) {
	dir := t.TempDir()
	at, stop := start(t, beacon.Options{Config: load(t, dir, config.Flags{}), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	web := at.Agents[0]
	for _, entry := range []string{config.DropDir, config.PolicyDir, config.SpoolDir, config.KeysDir, config.CatalogueFile, control.SocketName} {
		if _, err := os.Stat(filepath.Join(dir, entry)); err != nil {
			t.Errorf("when ready: %v", err)
		}
	}
	const policyPath = "/ManageSoftDL/Policies/Merged/EXAMPLE_domain/Machine/pc1.npl"
	if status, _ := request(t, http.DefaultClient, "GET", web+policyPath, ""); status != 404 {
		t.Errorf("policy before any bundle: %d", status)
	}
	bundle := "bundle: all\napplies_to: {devices: [\"*\"]}\nschedule:\n  - event: Update Machine Policy\n    run: policy\n    triggers: [{type: daily, at: \"00:05\"}]\n"
	tmp := filepath.Join(dir, config.DropDir, ".all")
	if err := errors.Join(os.Mkdir(tmp, 0o755), os.WriteFile(filepath.Join(tmp, "bundle.yaml"), []byte(bundle), 0o644), os.Rename(tmp, filepath.Join(dir, config.DropDir, "all"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the policy", func() bool {
		status, body := request(t, http.DefaultClient, "GET", web+policyPath, "")
		return status == 200 && strings.Contains(body, "<Policy")
	})
	status, body := request(t, http.DefaultClient, "PUT", web+ndi, "hello")
	if status != 200 || !strings.Contains(body, `"receipt"`) {
		t.Fatalf("upload: %d %s", status, body)
	}
	relayed := filepath.Join(dir, config.RelayedDir, "Incoming", "Inventories", "pc1 at 20261122T101112.ndi.gz")
	eventually(t, "the file", func() bool { b, err := os.ReadFile(relayed); return err == nil && string(b) == "hello" })
	if status, _ := request(t, http.DefaultClient, "HEAD", web+ndi, ""); status != 200 {
		t.Errorf("HEAD after delivery: %d", status)
	}
	if status, body := request(t, http.DefaultClient, "PUT", web+ndi, "hello"); status != 200 || !strings.Contains(body, `"duplicate":true`) {
		t.Errorf("repeat: %d %s", status, body)
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n"} {
		if status, body := request(t, http.DefaultClient, "GET", at.Admin+path, ""); status != 200 || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if status, _ := request(t, http.DefaultClient, "POST", at.Admin+"/healthz", ""); status != 405 {
		t.Errorf("POST /healthz: %d", status)
	}
	begun := time.Now()
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if _, err := os.Stat(filepath.Join(dir, control.SocketName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the stop: %v", err)
	}
	// What was acknowledged and published outlives the process.
	again, _ := start(t, beacon.Options{Config: load(t, dir, config.Flags{})})
	if status, _ := request(t, http.DefaultClient, "HEAD", again.Agents[0]+ndi, ""); status != 200 {
		t.Errorf("HEAD after a restart: %d", status)
	}
	if status, _ := request(t, http.DefaultClient, "GET", again.Agents[0]+policyPath, ""); status != 200 {
		t.Errorf("policy after a restart: %d", status)
	}
}

func TestMetricsAreWellNamedAndListed(t *testing.T) {
	at, _ := start(t, beacon.Options{Config: load(t, t.TempDir(), config.Flags{Metrics: "127.0.0.1:0", ListenTLS: []string{"127.0.0.1:0"}})})
	request(t, http.DefaultClient, "PUT", at.Agents[0]+ndi, "hello")
	request(t, http.DefaultClient, "PUT", at.Agents[0]+ndi, "hello")
	request(t, http.DefaultClient, "GET", at.Agents[0]+"/ManageSoftDL/none", "")
	_, own := request(t, http.DefaultClient, "GET", at.Metrics+"/metrics", "")
	if status, _ := request(t, http.DefaultClient, "GET", at.Metrics+"/healthz", ""); status != 404 {
		t.Errorf("/healthz on the metrics address: %d", status)
	}
	_, body := request(t, http.DefaultClient, "GET", at.Admin+"/metrics", "")
	for _, want := range []string{
		`beacon_uploads_accepted_total{kind="Inventories"} 1`, `beacon_uploads_duplicate_total{kind="Inventories"} 1`,
		`beacon_requests_refused_total{code="not-found",method="GET"} 1`, "beacon_ready 1", `beacon_relay_waiting_files{sink="relayed"}`,
		"beacon_policy_revision 0", "beacon_certificate_expiry_timestamp_seconds{", `beacon_uploads_lost_total{reason="quota"} 0`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	docs, err := os.ReadFile("../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(own) {
		name, _ := strings.CutPrefix(line, "# TYPE ")
		name, _, _ = strings.Cut(name, " ")
		if strings.HasPrefix(line, "# TYPE beacon_") && !bytes.Contains(docs, []byte("`"+name+"`")) {
			t.Errorf("docs/OPERATIONS.md does not list %s", name)
		}
	}
}

func TestTakenAddressIsAnErrorAtOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	for name, f := range map[string]config.Flags{"agents": {Listen: []string{taken}}, "metrics": {Metrics: taken}} {
		b, err := beacon.Open(t.Context(), beacon.Options{Config: load(t, t.TempDir(), f)})
		if err == nil {
			b.Close()
			t.Fatalf("%s: opened", name)
		}
		if !strings.Contains(err.Error(), taken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecondBeaconOnTheSameDataIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, beacon.Options{Config: load(t, dir, config.Flags{})})
	b, err := beacon.Open(t.Context(), beacon.Options{Config: load(t, dir, config.Flags{})})
	if err == nil {
		b.Close()
		t.Fatal("opened")
	}
}

func TestOpenGivesUpWholly(t *testing.T) {
	dir := t.TempDir()
	c := load(t, dir, config.Flags{})
	b, err := beacon.Open(t.Context(), beacon.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	start(t, beacon.Options{Config: c}) // nothing is held any longer
}

func TestControlCallsReachTheBeacon(t *testing.T) {
	dir := t.TempDir()
	start(t, beacon.Options{Config: load(t, dir, config.Flags{}), Calls: func(s *control.Server, b *beacon.Beacon) {
		control.Handle(s, "state", func(context.Context, struct{}) (beacon.State, error) { return b.State(), nil })
	}})
	eventually(t, "serving", func() bool {
		st, err := control.Call[struct{}, beacon.State](t.Context(), control.NewClient(dir), "state", struct{}{})
		return err == nil && st == beacon.Serving
	})
}

// client trusts the certificate that a beacon made for itself.
func client(t *testing.T, dir string, versions uint16, http2 bool) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, config.KeysDir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: versions}, ForceAttemptHTTP2: http2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestBeaconSpeaksTLS(t *testing.T) {
	dir := t.TempDir()
	at, _ := start(t, beacon.Options{Config: load(t, dir, config.Flags{ListenTLS: []string{"127.0.0.1:0"}})})
	web := at.AgentsTLS[0]
	for _, http2 := range []bool{false, true} {
		c := client(t, dir, tls.VersionTLS13, http2)
		for i := range 2 {
			path := fmt.Sprintf("/ManageSoftRL/Inventories/h%v-%d.ndi", http2, i)
			if status, body := request(t, c, "PUT", web+path, strings.Repeat("x", 100<<10)); status != 200 {
				t.Errorf("http2=%v: %d %s", http2, status, body)
			}
		}
		resp, err := c.Get(web + "/ManageSoftRL/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.ProtoMajor != map[bool]int{false: 1, true: 2}[http2] || resp.TLS.Version != tls.VersionTLS13 {
			t.Errorf("http2=%v: %s over %x", http2, resp.Proto, resp.TLS.Version)
		}
		// A refusal before the body must not break a stream either.
		if status, _ := request(t, c, "PUT", web+"/ManageSoftRL/Inventories/x.exe", strings.Repeat("x", 1<<20)); status != 415 {
			t.Errorf("http2=%v: refusal %d", http2, status)
		}
	}
	if _, err := client(t, dir, tls.VersionTLS12, false).Get(web); err == nil {
		t.Error("TLS 1.2 is spoken although nobody asked for it")
	}
	if _, err := http.Get(web); err == nil {
		t.Error("the certificate is trusted by everyone")
	}
}

func TestTLS12WhereConfigured(t *testing.T) {
	dir := t.TempDir()
	c := load(t, dir, config.Flags{ListenTLS: []string{"127.0.0.1:0"}})
	for _, l := range c.Listeners {
		if l.TLS != nil {
			l.TLS.MinVersion = "1.2"
		}
	}
	at, _ := start(t, beacon.Options{Config: c})
	if status, _ := request(t, client(t, dir, tls.VersionTLS12, false), "GET", at.AgentsTLS[0]+"/ManageSoftRL/", ""); status != 200 {
		t.Errorf("TLS 1.2: %d", status)
	}
	weak := client(t, dir, tls.VersionTLS12, false)
	weak.Transport.(*http.Transport).TLSClientConfig.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	if _, err := weak.Get(at.AgentsTLS[0]); err == nil {
		t.Error("a suite that does not authenticate what it encrypts, or keeps no secrecy, is spoken")
	}
}

func TestCertificateIsReloaded(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	at, _ := start(t, beacon.Options{Config: load(t, dir, config.Flags{ListenTLS: []string{"127.0.0.1:0"}})})
	start(t, beacon.Options{Config: load(t, other, config.Flags{ListenTLS: []string{"127.0.0.1:0"}})}) // makes another pair
	serial := func() string {
		c, err := tls.Dial("tcp", strings.TrimPrefix(at.AgentsTLS[0], "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	errorsSeen := func() string {
		_, body := request(t, http.DefaultClient, "GET", at.Admin+"/metrics", "")
		_, after, _ := strings.Cut(body, "\nbeacon_certificate_reload_errors_total ")
		n, _, _ := strings.Cut(after, "\n")
		return n
	}
	move := func(from, name string) {
		b, err := os.ReadFile(filepath.Join(from, config.KeysDir, name))
		if err == nil {
			err = errors.Join(os.WriteFile(filepath.Join(dir, "new"), b, 0o600), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, config.KeysDir, name)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	old := serial()
	move(other, "tls.crt") // without its key: broken
	eventually(t, "the broken pair to be noticed", func() bool { return serial() == old && errorsSeen() == "1" })
	move(other, "tls.key")
	eventually(t, "the new pair", func() bool { return serial() != old })
	if n := errorsSeen(); n != "1" {
		t.Errorf("%s reload errors", n)
	}
}

func TestReadinessIsRedWhenUploadsCannotBeStored(t *testing.T) {
	s := newSite(t)
	h := s.Handler()
	admin := &beacon.Admin{Ready: s.Trouble, Metrics: s.Metrics}
	ready := func() int { return ask(admin.Handler(), "GET", "/readyz", "").StatusCode }
	if ready() != 200 {
		t.Error("red from the start")
	}
	ask(h, "PUT", ndi, "x", "Repr-Digest: sha-256=:"+strings.Repeat("A", 43)+"=:")
	if ready() != 200 {
		t.Error("red because of a sender's mistake")
	}
	s.spool.err = io.ErrShortWrite
	ask(h, "PUT", ndi, "x")
	if ready() != 503 {
		t.Error("green although nothing can be stored")
	}
	s.spool.err = nil
	ask(h, "PUT", ndi, "x")
	if ready() != 200 {
		t.Error("red although uploads are stored again")
	}
}

func TestBeaconRelaysToItsParent(t *testing.T) {
	for _, tt := range []struct {
		name     string
		networks string
		arrives  bool
	}{
		{"parent elsewhere", "192.0.2.0/24", true},
		{"parent in an agent network", "127.0.0.0/8", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hubDir, dir := t.TempDir(), t.TempDir()
			hub, _ := start(t, beacon.Options{Config: load(t, hubDir, config.Flags{Name: "hub"})})
			file := filepath.Join(dir, "beacon.yaml")
			if err := os.WriteFile(file, []byte("agent_networks: ["+tt.networks+"]\nrelay:\n  - name: up\n    beacon: {url: \""+hub.Agents[0]+"/ManageSoftRL/\"}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			c, _, err := config.Load(config.Sources{File: file, Flags: config.Flags{Name: "child", Data: filepath.Join(dir, "data"), Listen: []string{"127.0.0.1:0"}, Admin: "127.0.0.1:0"}})
			if err != nil {
				t.Fatal(err)
			}
			c.Spool.Segment = 1 << 20
			child, _ := start(t, beacon.Options{Config: c})
			if status, body := request(t, http.DefaultClient, "PUT", child.Agents[0]+ndi, "hello"); status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			arrived := func() bool {
				status, _ := request(t, http.DefaultClient, "HEAD", hub.Agents[0]+ndi, "")
				return status == 200
			}
			if tt.arrives {
				eventually(t, "the file at the parent", arrived)
				return
			}
			eventually(t, "a refused dial", func() bool {
				_, body := request(t, http.DefaultClient, "GET", child.Admin+"/metrics", "")
				return !strings.Contains(body, "\nbeacon_dials_refused_total 0\n")
			})
			if arrived() {
				t.Error("the parent was dialled")
			}
		})
	}
}

func TestFullDiskRefusesUploadsAlone(t *testing.T) {
	c := load(t, t.TempDir(), config.Flags{})
	c.Spool.MinFree = 1 << 60
	at, _ := start(t, beacon.Options{Config: c})
	if status, body := request(t, http.DefaultClient, "PUT", at.Agents[0]+ndi, "hello"); status != 507 || !strings.Contains(body, "spool-full") {
		t.Errorf("upload: %d %s", status, body)
	}
	if status, _ := request(t, http.DefaultClient, "GET", at.Agents[0]+"/ManageSoftRL/", ""); status != 200 {
		t.Errorf("reachability: %d", status)
	}
	if status, body := request(t, http.DefaultClient, "GET", at.Agents[0]+pollPath, ""); status != 404 || !strings.Contains(body, "not-found") {
		t.Errorf("policy: %d %s", status, body)
	}
}

// A large file is not kept in memory; what is served of it is still itself.
func TestLargeFileIsServedFromDisk(t *testing.T) {
	dir := t.TempDir()
	at, _ := start(t, beacon.Options{Config: load(t, dir, config.Flags{})})
	large := strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB
	staged := filepath.Join(dir, config.DropDir, ".staged")
	folder := filepath.Join(staged, "Packages", "tool", "1.0")
	err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "tool.ndc"), []byte(large), 0o644),
		os.Rename(staged, filepath.Join(dir, config.DropDir, "staged")))
	if err != nil {
		t.Fatal(err)
	}
	path := at.Agents[0] + "/ManageSoftDL/Packages/tool/1.0/tool.ndc"
	eventually(t, "the file", func() bool { status, _ := request(t, http.DefaultClient, "HEAD", path, ""); return status == 200 })
	for range 2 {
		if status, body := request(t, http.DefaultClient, "GET", path, ""); status != 200 || body != large {
			t.Errorf("%d, %d bytes", status, len(body))
		}
	}
	req, _ := http.NewRequest("GET", path, nil)
	req.Header.Set("Range", "bytes=1048570-2097160")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body := text(t, resp); resp.StatusCode != 206 || body != large[1048570:2097161] {
		t.Errorf("range: %d, %d bytes", resp.StatusCode, len(body))
	}
}
