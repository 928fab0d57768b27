package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"inventorybeacon/agentside"
	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/uploadstest"
)

// configured writes a configuration whose relay is the given YAML.
func configured(t *testing.T, relay string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "beacon.yaml")
	text := "listeners:\n  - {address: \"127.0.0.1:0\", access: anonymous}\nrelay:\n" + relay
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// receiptOf asks a beacon for its receipt; its status is 404 if there is none.
func receiptOf(t *testing.T, s *server, r uploads.Receipt) (now uploads.Receipt, body, signature string, status int) {
	t.Helper()
	at := s.Agents + "/ManageSoftRL/" + r.Kind + "/" + url.PathEscape(r.Name) + "?sha256=" + r.SHA256.String()
	resp, err := plainClient.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, &now); err != nil {
			t.Fatal(err)
		}
	}
	return now, string(b), resp.Header.Get("Beacon-Signature"), resp.StatusCode
}

// levels are those of a receipt's custody, in its order.
func levels(r uploads.Receipt) (out []string) {
	for _, c := range r.Custody {
		out = append(out, c.Level)
	}
	return out
}

func inStore(t *testing.T, s *server, r uploads.Receipt) func() bool {
	return func() bool {
		now, _, _, _ := receiptOf(t, s, r)
		return slices.Contains(levels(now), uploads.LevelStore)
	}
}

// The same name and bytes are one file for ever: while it waits, when it is
// delivered, after a restart and after the index is gone.
func TestRepeatIsOneObject(t *testing.T) {
	repeat := func(t *testing.T, data, config string, objects func() (map[uploads.Digest]int, error)) {
		const name, body = "ws1 at 20260310T172738.log", "the same bytes"
		args := []string{"--config", config}
		s := start(t, data, args...)
		first := putFile(t, s, "Logs", name, body)
		if first.Duplicate {
			t.Errorf("the first one is a duplicate")
		}
		check := func(when string) {
			t.Helper()
			again := putFile(t, s, "logs", strings.ToUpper(name[:3])+name[3:], body)
			if !again.Duplicate || again.ID != first.ID || !again.Received.Equal(first.Received) {
				t.Errorf("%s: %+v, want the receipt %+v again", when, again, first)
			}
		}
		restart := func() {
			t.Helper()
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			s = start(t, data, args...)
		}
		check("at once")
		eventually(t, 30*time.Second, "the store has it", inStore(t, s, first))
		check("when it is delivered")
		restart()
		check("after a restart")
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"catalog.db", "catalog.db-wal", "catalog.db-shm"} {
			if err := os.Remove(filepath.Join(data, file)); err != nil && file == "catalog.db" {
				t.Fatal(err)
			}
		}
		s = start(t, data, args...)
		check("without the index")
		eventually(t, 30*time.Second, "the index is made again", func() bool { return shown(t, s, first.ID).State == "delivered" })
		eventually(t, 30*time.Second, "nothing waits", func() bool { return waiting(t, data) == 0 })
		have, err := objects()
		if err != nil || len(have) != 1 || have[first.SHA256] != 1 {
			t.Errorf("in the store: %v, %v", have, err)
		}
	}
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		data := filepath.Join(t.TempDir(), "beacon")
		relayed := filepath.Join(t.TempDir(), "relayed")
		repeat(t, data, configured(t, fmt.Sprintf("  - {name: files, directory: {path: %q}}\n", relayed)), func() (map[uploads.Digest]int, error) {
			return files(filepath.Join(relayed, "Incoming"))
		})
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		store := startS3(t)
		repeat(t, filepath.Join(t.TempDir(), "beacon"), store.config(t), store.objects)
	})
}

// The same name with other bytes is another file, at every hop.
func TestSameNameWithOtherBytesTravelsTwoHops(t *testing.T) {
	travel := func(t *testing.T, hub *server, objects func() (map[uploads.Digest]int, error)) {
		c := child(t, hub)
		var sent []uploads.Receipt
		for _, body := range []string{"one", "two", "three"} {
			sent = append(sent, putFile(t, c, "Logs", "ws1 at 20260310T172738.log", body))
		}
		for _, r := range sent {
			eventually(t, time.Minute, "the child knows that the store has "+r.ID, inStore(t, c, r))
			now, _, _, _ := receiptOf(t, c, r)
			if r.Duplicate || !slices.Equal(levels(now), []string{"beacon", "parent", "store"}) || now.Custody[0].Beacon == now.Custody[1].Beacon || now.Custody[1].Beacon != now.Custody[2].Beacon {
				t.Errorf("receipt %+v", now)
			}
			if got := shownAll(t, c, r.ID).Custody; len(got) != 3 {
				t.Errorf("uploads show: %+v", got)
			}
		}
		have, err := objects()
		if err != nil || len(have) != 3 {
			t.Errorf("in the store: %v, %v", have, err)
		}
		for _, r := range sent {
			if have[r.SHA256] != 1 {
				t.Errorf("%s is there %d times", r.ID, have[r.SHA256])
			}
		}
	}
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		hub := start(t, filepath.Join(t.TempDir(), "hub"))
		travel(t, hub, func() (map[uploads.Digest]int, error) { return files(filepath.Join(hub.Data, "relayed", "Incoming")) })
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		store := startS3(t)
		travel(t, start(t, filepath.Join(t.TempDir(), "hub"), "--config", store.config(t)), store.objects)
	})
}

func shownAll(t *testing.T, s *server, receipt string) (u desk.ShownUpload) {
	t.Helper()
	out, said, err := command(t.Context(), "beacon", "uploads", "show", receipt, "--json", "--data", s.Data)
	if err == nil {
		err = json.Unmarshal([]byte(out), &u)
	}
	if err != nil {
		t.Fatalf("uploads show: %v: %s", err, said)
	}
	return u
}

// A receipt can be checked by whoever has the beacon's public key and openssl,
// also once the beacon is stopped.
func TestReceiptVerifiesWithOpenssl(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: no openssl to verify a signature with")
	}
	s := start(t, filepath.Join(t.TempDir(), "beacon"))
	r := putFile(t, s, "Logs", "ws1 at 20260310T172738.log", "hello")
	eventually(t, 30*time.Second, "the store has it", inStore(t, s, r))
	verify := func(file string) (string, error) {
		out, err := exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-pubin", "-inkey", filepath.Join(s.Data, "keys", "beacon.pub"),
			"-rawin", "-in", file, "-sigfile", file+".sig").CombinedOutput()
		return string(out), err
	}
	_, body, signature, status := receiptOf(t, s, r)
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	wire := filepath.Join(t.TempDir(), "wire.json")
	if err := os.WriteFile(wire, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), openssl, "base64", "-d", "-A", "-out", wire+".sig")
	cmd.Stdin = strings.NewReader(signature)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := verify(wire); err != nil {
		t.Errorf("the answer's signature: %v: %s", err, out)
	}
	for _, state := range []string{"running", "stopped"} {
		file := filepath.Join(t.TempDir(), state+".json")
		if out, said, err := command(t.Context(), "beacon", "uploads", "show", r.ID, "--signed", file, "--data", s.Data); err != nil || !strings.Contains(out, "store at") {
			t.Fatalf("%s: %v: %s%s", state, err, out, said)
		}
		if out, err := verify(file); err != nil {
			t.Errorf("%s: %v: %s", state, err, out)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != body {
			t.Errorf("%s: the receipt is\n%s, by GET it was\n%s", state, b, body)
		}
		if state == "running" {
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(wire, []byte(strings.Replace(body, "ws1", "ws2", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(wire); err == nil {
		t.Errorf("a changed receipt verifies: %s", out)
	}
}

// A cutter passes connections on, counts the bytes that go up, and cuts the
// first connection that carried so many of them when its answer begins.
type cutter struct {
	ln      net.Listener
	to      string
	after   int64
	passed  atomic.Int64
	cuts    atomic.Int64
	closing sync.WaitGroup
}

func newCutter(t *testing.T, to string, after int64) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{ln: ln, to: strings.TrimPrefix(to, "http://"), after: after}
	c.closing.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c.closing.Go(func() { c.join(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		c.closing.Wait()
	})
	return c
}

func (c *cutter) join(in net.Conn) {
	out, err := net.Dial("tcp", c.to)
	if err != nil {
		in.Close()
		return
	}
	var up atomic.Int64
	var both sync.WaitGroup
	both.Go(func() {
		defer out.Close()
		defer in.Close()
		io.Copy(io.MultiWriter(out, counter{&up}, counter{&c.passed}), in)
	})
	both.Go(func() {
		defer out.Close()
		defer in.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := out.Read(buf)
			if up.Load() >= c.after && c.cuts.CompareAndSwap(0, 1) {
				return // the file is safe, and its sender does not hear of it
			}
			if _, werr := in.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	})
	both.Wait()
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// A connection that is cut after the last byte and before the answer costs the
// agent a question, and no second body.
func TestLostAnswerCostsNoBody(t *testing.T) {
	t.Parallel()
	s := start(t, filepath.Join(t.TempDir(), "beacon"))
	const size = 900_000
	c := newCutter(t, s.Agents, size)
	data := filepath.Join(t.TempDir(), "agent")
	a := &agent{data: data}
	body := uploadstest.Noise(size, 1)
	a.leave(t, "Logs", "collected.log", body)
	out, said, err := command(t.Context(), "beacon-agent", "upload", "--beacon", "http://"+c.ln.Addr().String(), "--data", data, "--name", "ws1")
	if err != nil {
		t.Fatalf("upload: %v: %s%s", err, out, said)
	}
	if c.cuts.Load() != 1 {
		t.Fatal("no answer was lost: this shows nothing")
	}
	if up := c.passed.Load(); up < size || up > size+16<<10 {
		t.Errorf("%d bytes went up for a file of %d", up, size)
	}
	eventually(t, 30*time.Second, "the file is relayed", func() bool { return arrivedAt(t, s.Data, uploads.DigestOf(body)) == 1 })
}

// An agent whose policy wants its files in the store keeps them until they are
// there, two hops up, and sends each body once.
func TestAgentKeepsFilesUntilTheStoreHasThem(t *testing.T) {
	t.Parallel()
	incoming := filepath.Join(t.TempDir(), "store", "Incoming", "Logs")
	blocking := filepath.Join(incoming, "nobody imports.log")
	if err := os.MkdirAll(incoming, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blocking, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	hub := start(t, filepath.Join(t.TempDir(), "hub"), "--config",
		configured(t, fmt.Sprintf("  - {name: files, directory: {path: %q, max_files: 1}}\n", filepath.Dir(filepath.Dir(incoming)))))
	c := child(t, hub)
	bundle := filepath.Join(t.TempDir(), "bundle")
	writeFolder(t, bundle, map[string]string{"bundle.yaml": "bundle: careful\napplies_to: {devices: [\"*\"]}\nsettings: {Agent: {ForgetAt: store}}\n"})
	if _, said, err := command(t.Context(), "beacon", "policy", "publish", bundle, "--data", c.Data); err != nil {
		t.Fatalf("publish: %v: %s", err, said)
	}
	data := filepath.Join(t.TempDir(), "agent")
	run := func(verb string) {
		t.Helper()
		if out, said, err := command(t.Context(), "beacon-agent", verb, "--beacon", c.Agents, "--data", data, "--name", "ws1"); err != nil {
			t.Fatalf("%s: %v: %s%s", verb, err, out, said)
		}
	}
	run("pull")
	body := []byte("careful")
	(&agent{data: data}).leave(t, "Logs", "collected.log", body)
	for range 3 { // each a process of its own
		run("upload")
		if st := agentStatus(t, data).Outbox; st.Waiting != 1 || st.Held != 1 || st.ForgetAt != "store" || st.Bytes != int64(len(body)) {
			t.Fatalf("while the store is shut: %+v", st)
		}
	}
	// A beacon that is away now has nothing to wait for.
	if out, said, err := command(t.Context(), "beacon-agent", "upload", "--beacon", "http://127.0.0.1:1", "--data", data, "--name", "ws1"); err != nil {
		t.Errorf("upload: %v: %s%s", err, out, said)
	}
	if out, _, err := command(t.Context(), "beacon-agent", "status", "--data", data); err != nil || !strings.Contains(out, "with a beacon") {
		t.Errorf("status: %v\n%s", err, out)
	}
	if err := os.Remove(blocking); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "the agent forgets the file", func() bool {
		run("upload")
		return agentStatus(t, data).Outbox.Waiting == 0
	})
	if n := metric(t, c, `beacon_uploads_accepted_total{kind="Logs"}`); n != "1" {
		t.Errorf("the child took %s bodies", n)
	}
	if n := metric(t, c, `beacon_uploads_duplicate_total{kind="Logs"}`); n != "" {
		t.Errorf("the child was sent %s bodies again", n)
	}
	if have, err := files(incoming); err != nil || have[uploads.DigestOf(body)] != 1 {
		t.Errorf("in the store: %v, %v", have, err)
	}
}

func agentStatus(t *testing.T, data string) (st agentside.Status) {
	t.Helper()
	out, said, err := command(t.Context(), "beacon-agent", "status", "--json", "--data", data)
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	if err != nil {
		t.Fatalf("status: %v: %s", err, said)
	}
	return st
}

// metric returns the value of one series, empty if there is none.
func metric(t *testing.T, s *server, series string) string {
	t.Helper()
	body, status, err := get(t.Context(), s.Admin+"/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("metrics: %d, %v", status, err)
	}
	for line := range strings.SplitSeq(body, "\n") {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return value
		}
	}
	return ""
}
