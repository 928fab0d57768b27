package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent"
)

// startNginx puts nginx in front of a beacon and returns where it listens. Its
// port is one that was free a moment ago: nginx cannot pick one.
func startNginx(t *testing.T, s *server, location string) string {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed: uploads through it are not shown")
	}
	dir := t.TempDir()
	for attempt := 0; ; attempt++ {
		addr := freeAddress(t)
		text := fmt.Sprintf(`
daemon off;
user root; # who else may not write below a directory of this test; ignored where the test is not root
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server { listen %[2]s; location / { proxy_pass %[3]s; %[4]s } }
}`, dir, addr, s.Agents, location)
		conf := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		said := &log{}
		cmd := exec.Command(program, "-c", conf, "-p", dir)
		cmd.Stderr = said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		if proxied(addr, ended) {
			t.Cleanup(func() { cmd.Process.Signal(os.Interrupt); <-ended })
			return addr
		}
		cmd.Process.Kill()
		<-ended
		if attempt == 3 {
			t.Fatalf("nginx does not start:\n%s", said)
		}
	}
}

// proxied reports whether addr answers before the program behind it ends.
func proxied(addr string, ended <-chan struct{}) bool {
	for range 500 {
		resp, err := plainClient.Get("http://" + addr + "/ManageSoftRL/")
		if err == nil {
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// Large files arrive through nginx as it is installed, which refuses large
// bodies, and as it should be configured, which passes them on; and through one
// that stores each body before it passes it on and whose senders are cut.
func TestLargeFilesArriveThroughNginx(t *testing.T) {
	for _, tt := range []struct {
		name, location string
		cut            bool
	}{
		{"default", "", false},
		{"for uploads", "client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;", false},
		{"default, cut", "", true},
		{"for uploads, cut", "client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;", true},
		{"storing, cut", "client_max_body_size 0;", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const size = 24 << 20
			dir := t.TempDir()
			data := filepath.Join(dir, "beacon")
			s := start(t, data)
			addr := startNginx(t, s, tt.location)
			var line *badLine
			if tt.cut {
				line = newBadLine(t, addr, 3<<20, 6<<20)
				addr = line.Addr
			}
			file := filepath.Join(dir, "big.log")
			sum := noise(t, file, size)
			name, err := uploads.ParseName("ws1 at 20261122T093000.log")
			if err != nil {
				t.Fatal(err)
			}
			transport := parent.NewTransport()
			defer transport.CloseIdleConnections()
			c := &parent.Client{HTTP: &http.Client{Transport: transport}, Resume: &parent.Resuming{}}
			u := uploads.Upload{Kind: "Logs", Name: name, Size: size, Digest: sum, Device: uploads.Device{Name: "ws1"}}
			r, err := putUntil(t, c, addr, u, file)
			if err != nil || r.SHA256 != sum {
				t.Fatalf("%+v %v", r, err)
			}
			if line != nil {
				if line.cuts.Load() == 0 {
					t.Error("nothing was cut: this shows nothing")
				}
				t.Logf("cut %d times: %.3f times the size was sent", line.cuts.Load(), float64(line.up.Load())/size)
			}
			eventually(t, time.Minute, "the file is where the centre takes it", func() bool { return arrivedAt(t, data, sum) == 1 })
		})
	}
}

// putUntil sends a file as a relay does, again and again.
func putUntil(t *testing.T, c *parent.Client, addr string, u uploads.Upload, file string) (r uploads.Receipt, err error) {
	for range 20 {
		r, err = c.Put(t.Context(), parent.Location{Name: "nginx", Root: "http://" + addr + "/ManageSoftRL"}, u, func() (uploads.Body, error) { return openBody(file, u.Size) })
		if err == nil || !strings.Contains(err.Error(), "connection") && !strings.Contains(err.Error(), "EOF") {
			return r, err
		}
	}
	return r, err
}

// freeAddress returns a loopback address that was free a moment ago: the server
// cannot be told to pick one itself.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
