package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent"
)

// A badLine is a TCP proxy that cuts each connection after a number of bytes went
// up that it makes up anew.
type badLine struct {
	Addr        string
	least, most int64
	up          atomic.Int64 // bytes that came from senders
	cuts        atomic.Int64
}

func newBadLine(t *testing.T, upstream string, least, most int64) *badLine {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &badLine{Addr: l.Addr().String(), least: least, most: most}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { c.serve(down, upstream) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return c
}

func (c *badLine) serve(down net.Conn, upstream string) {
	defer down.Close()
	up, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	defer up.Close()
	var answers sync.WaitGroup
	answers.Go(func() {
		defer down.Close()
		io.Copy(down, up)
	})
	if _, err := io.CopyN(up, counted{down, &c.up}, c.least+rand.Int64N(c.most-c.least+1)); err == nil {
		c.cuts.Add(1)
	}
	down.Close()
	up.Close()
	answers.Wait()
}

// counted counts what is read, as it is.
type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// sizes of the files that are sent, and after how many bytes they are cut.
func resumeSizes() (size, least, most int64) {
	if full() {
		return 200 << 20, 5 << 20, 20 << 20
	}
	return 40 << 20, 2 << 20, 5 << 20
}

// mostSent is how much may be sent of a file, as a multiple of its size.
const mostSent = 1.2

// noise writes a file of random bytes and returns its digest.
func noise(t *testing.T, name string, size int64) uploads.Digest {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{byte(size)}), size); err != nil {
		t.Fatal(err)
	}
	return uploads.Digest(h.Sum(nil))
}

// An agent's large file arrives intact through a line that is cut again and again,
// and little of it is sent twice; also when the agent is killed on the way.
func TestAgentResumesLargeFiles(t *testing.T) {
	t.Parallel()
	size, least, most := resumeSizes()
	dir := t.TempDir()
	data := filepath.Join(dir, "beacon")
	s := start(t, data)
	line := newBadLine(t, strings.TrimPrefix(s.Agents, "http://"), least, most)
	outbox := filepath.Join(dir, "agent", "outbox", "Logs")
	if err := os.MkdirAll(outbox, 0o755); err != nil {
		t.Fatal(err)
	}
	sum := noise(t, filepath.Join(outbox, "big.log"), size)
	args := []string{"once", "--beacon", "http://" + line.Addr, "--data", filepath.Join(dir, "agent"), "--name", "ws1", "--timeout", "5m", "--verbose"}
	victim := exec.Command(program("beacon-agent"), args...)
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "a quarter of the file is on its way", func() bool { return line.up.Load() > size/4 })
	victim.Process.Kill()
	victim.Wait()
	out, said, err := command(t.Context(), "beacon-agent", args...)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, said)
	}
	if line.cuts.Load() < size/most {
		t.Fatalf("%d cuts: this shows nothing", line.cuts.Load())
	}
	ratio := float64(line.up.Load()) / float64(size)
	t.Logf("%d MiB, cut %d times: %.3f times its size was sent", size>>20, line.cuts.Load(), ratio)
	if ratio > mostSent {
		t.Errorf("%.3f times the size was sent\n%s", ratio, said)
	}
	eventually(t, time.Minute, "the file is where the centre takes it", func() bool { return arrivedAt(t, data, sum) == 1 })
}

// The same of the client alone, whose progress can be watched: it is stopped and
// another one begins where it was.
func TestClientResumesAfterRestart(t *testing.T) {
	t.Parallel()
	size, least, most := resumeSizes()
	dir := t.TempDir()
	data := filepath.Join(dir, "beacon")
	s := start(t, data)
	line := newBadLine(t, strings.TrimPrefix(s.Agents, "http://"), least, most)
	file := filepath.Join(dir, "big.log")
	sum := noise(t, file, size)
	name, err := uploads.ParseName("ws1 at 20261122T093000.log")
	if err != nil {
		t.Fatal(err)
	}
	u := uploads.Upload{Kind: "Logs", Name: name, Size: size, Digest: sum, Device: uploads.Device{Name: "ws1"}}
	for attempt := 0; ; attempt++ {
		// Each attempt is a client that knows nothing of the ones before.
		process := &oneLine{Transport: parent.NewTransport()}
		c := &parent.Client{HTTP: &http.Client{Transport: process}, Resume: &parent.Resuming{}}
		r, err := c.Put(t.Context(), parent.Location{Name: "b", Root: "http://" + line.Addr + "/ManageSoftRL"}, u, func() (uploads.Body, error) { return openBody(file, size) })
		process.CloseIdleConnections()
		if err == nil {
			if r.SHA256 != sum || attempt == 0 {
				t.Errorf("%+v after %d attempts", r, attempt)
			}
			break
		}
		if attempt > 1000 {
			t.Fatal(err)
		}
	}
	ratio := float64(line.up.Load()) / float64(size)
	t.Logf("%d MiB, cut %d times: %.3f times its size was sent", size>>20, line.cuts.Load(), ratio)
	if ratio > mostSent {
		t.Errorf("%.3f times the size was sent", ratio)
	}
	eventually(t, time.Minute, "the file is where the centre takes it", func() bool { return arrivedAt(t, data, sum) == 1 })
}

// oneLine lets a client fail for good after its first connection was cut.
type oneLine struct {
	*http.Transport
	failed atomic.Bool
}

func (o *oneLine) RoundTrip(r *http.Request) (*http.Response, error) {
	if o.failed.Load() {
		return nil, fmt.Errorf("the process is gone")
	}
	resp, err := o.Transport.RoundTrip(r)
	if err != nil {
		o.failed.Store(true)
	}
	return resp, err
}

type sectionBody struct {
	*io.SectionReader
	io.Closer
}

func openBody(name string, size int64) (uploads.Body, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return sectionBody{io.NewSectionReader(f, 0, size), f}, nil
}

// A beacon that is killed with half an upload goes on with that half.
func TestUnfinishedUploadSurvivesKill(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "beacon")
	s, err := serve(data)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Repeat("a", 3<<20)
	resp := sendPart(t, s, "POST", "/ManageSoftRL/Logs/a.log", "", "Upload-Complete", "?0", "Upload-Length", fmt.Sprint(len(first)+5))
	at := resp.Header.Get("Location")
	sendPart(t, s, "PATCH", at, first, "Content-Type", "application/partial-upload", "Upload-Offset", "0", "Upload-Complete", "?0")
	s.kill()
	s = start(t, data)
	if resp := sendPart(t, s, "HEAD", at, ""); resp.Header.Get("Upload-Offset") != fmt.Sprint(len(first)) {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	out, said, err := command(t.Context(), "beacon", "status", "--data", data)
	if err != nil || !strings.Contains(out, "unfinished") {
		t.Errorf("%v\n%s%s", err, out, said)
	}
	if resp := sendPart(t, s, "PATCH", at, "world", "Content-Type", "application/partial-upload", "Upload-Offset", fmt.Sprint(len(first)), "Upload-Complete", "?1"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	sum := uploads.DigestOf([]byte(first + "world"))
	eventually(t, time.Minute, "the file is where the centre takes it", func() bool { return arrivedAt(t, data, sum) == 1 })
	s.kill()
	s = start(t, data)
	if resp := sendPart(t, s, "PATCH", at, "", "Content-Type", "application/partial-upload", "Upload-Offset", fmt.Sprint(len(first)+5), "Upload-Complete", "?1"); resp.StatusCode != 200 {
		t.Errorf("the receipt again, after a restart: %s", resp.Status)
	}
}

func sendPart(t *testing.T, s *server, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Agents+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}
