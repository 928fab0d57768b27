//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A rival is one server that takes uploads, ours or another's.
type rival struct {
	name   string
	launch func(dir string) (*child, error)
	head   func(n int, body []byte) string
	status int // of an upload taken
}

// ours is the beacon as it is built, with everything that it does behind an
// upload: receipts, catalogue, metrics.
func ours(relay string) rival {
	return rival{"beacon", func(dir string) (*child, error) { return launchWarm(dir, relay) }, putInventory, http.StatusOK}
}

// surface is the agents' surface on a spool with its spares ready, without what
// a beacon does behind an upload: no catalogue, no check, no relay.
func surface() rival {
	return rival{"spool", func(dir string) (*child, error) { return contestantAt("spool", dir, "ready") }, putInventory, http.StatusOK}
}

// rivals are what the beacon is measured against. nginx syncs nothing: it
// answers as soon as the kernel has the bytes. restic's rest-server syncs each
// file and its directory, and checks its SHA-256.
var rivals = map[string]rival{
	"files": {"files", func(dir string) (*child, error) { return contestantAt("files", dir) }, putInventory, http.StatusOK},
	"nginx": {"nginx", launchNginx, putNginx, http.StatusCreated},
	"rest":  {"rest", launchRest, postRest, http.StatusOK},
}

func putInventory(n int, body []byte) string {
	name := url.PathEscape(fmt.Sprintf("bench%05d at 20260101T000000.ndi.gz", n))
	return fmt.Sprintf("PUT /ManageSoftRL/Inventories/%s HTTP/1.1\r\nHost: beacon\r\nContent-Length: %d\r\n\r\n", name, len(body))
}

func putNginx(n int, body []byte) string {
	return fmt.Sprintf("PUT /Inventories/bench%05d.ndi.gz HTTP/1.1\r\nHost: nginx\r\nContent-Length: %d\r\n\r\n", n, len(body))
}

func postRest(_ int, body []byte) string {
	sum := sha256.Sum256(body)
	return fmt.Sprintf("POST /repo/data/%s HTTP/1.1\r\nHost: rest\r\nContent-Length: %d\r\n\r\n", hex.EncodeToString(sum[:]), len(body))
}

func contestantAt(name, dir string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(self, append([]string{"contestant", name, dir}, args...)...)
}

const nginxConf = `
daemon off;
worker_processes 2;
pid nginx.pid;
error_log error.log;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path temp;
	proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
	client_max_body_size 0;
	client_body_buffer_size 128k;
	keepalive_requests 1000000;
	server {
		listen %s reuseport;
		root files;
		dav_methods PUT;
		create_full_put_path on;
	}
}
`

// launchNginx starts nginx's WebDAV module, tuned as for speed: a worker a
// core, no access log, bodies of this size kept in memory until they are whole.
func launchNginx(dir string) (*child, error) {
	if _, err := exec.LookPath("nginx"); err != nil {
		return nil, fmt.Errorf("%w: install nginx", err)
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"files", "temp"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
			return nil, err
		}
	}
	conf := strings.NewReplacer("root files", "root "+filepath.Join(dir, "files"), "_path temp", "_path "+filepath.Join(dir, "temp"),
		"pid nginx.pid", "user root; pid "+filepath.Join(dir, "nginx.pid"), "error_log error.log", "error_log "+filepath.Join(dir, "error.log")).Replace(fmt.Sprintf(nginxConf, addr))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	c, err := spawn("nginx", "-c", file)
	if err != nil {
		return nil, err
	}
	return c, c.await(addr)
}

// restServer is where make puts restic's rest-server.
const restServer = ".tools/bin/rest-server"

func launchRest(dir string) (*child, error) {
	if _, err := os.Stat(restServer); err != nil {
		return nil, fmt.Errorf("%w: make bench builds it", err)
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	c, err := spawn(restServer, "--path", dir, "--listen", addr, "--no-auth", "--log", filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	if err := c.await(addr); err != nil {
		return nil, err
	}
	resp, err := http.Post("http://"+addr+"/repo/?create=true", "", nil)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("rest-server: create repository: %s", resp.Status)
	}
	return c, nil
}

// freeAddress is one on which nobody listens just now, for programs that
// cannot say which port they were given.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// await waits until the child takes connections.
func (c *child) await(addr string) error {
	c.addr = addr
	var err error
	for range 100 {
		var conn net.Conn
		if conn, err = net.Dial("tcp", addr); err == nil {
			return conn.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s does not listen: %w", c.cmd.Path, err)
}
