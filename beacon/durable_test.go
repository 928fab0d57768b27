package beacon_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// A tapped listener shows check every byte of every answer just before it goes
// to the network: later the sender may already have forgotten the file.
type tapped struct {
	net.Listener
	check func(answer []byte)
}

func (l *tapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &tappedConn{c, l.check}, err
}

type tappedConn struct {
	net.Conn
	check func([]byte)
}

func (c *tappedConn) Write(b []byte) (int, error) {
	c.check(b)
	return c.Conn.Write(b)
}

var receiptIn = regexp.MustCompile(`"receipt":"([a-z2-7]{26})"`)

// watched runs senders against a server whose disk is recorded, and returns how
// many 200s were written and what the recorder said against any of them.
func watched(t *testing.T, skip func(name string) bool) (answers int64, early error) {
	t.Helper()
	dir := t.TempDir()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rec := disktest.NewRecorder(d)
	rec.Skip = skip
	sp, err := spool.Open(dir, spool.Options{Recycle: true, SegmentBytes: 1 << 20, Disk: rec, Trace: &spool.Trace{Acked: rec.Acked}})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	var mu sync.Mutex
	var count atomic.Int64
	url, stop := listenTapped(t, sp, func(answer []byte) {
		m := receiptIn.FindSubmatch(answer)
		if m == nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			return
		}
		count.Add(1)
		if err := rec.Check(string(m[1])); err != nil {
			mu.Lock()
			early = errors.Join(early, err)
			mu.Unlock()
		}
	})
	defer stop()
	var senders sync.WaitGroup
	for s := range 8 {
		senders.Go(func() {
			for n := range 20 {
				size := []int{10, 3000, 20 << 10, 300 << 10}[n%4] // the last is over a quarter of a segment
				send(t, fmt.Sprintf("%s/ManageSoftRL/Logs/s%d-%d.log", url, s, n), strings.Repeat("x", size))
			}
		})
	}
	senders.Wait()
	return count.Load(), early
}

func listenTapped(t *testing.T, sp *spool.Spool, check func([]byte)) (url string, stop func()) {
	t.Helper()
	s := newSite(t)
	s.Spool = sp
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, &tapped{ln, check}) }()
	return "http://" + ln.Addr().String(), func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

func send(t *testing.T, url, body string) {
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", url, resp.Status)
	}
}

// No 200 is written before the sync that covers its upload's last byte has
// returned; and this test sees it where a sync is left out.
func TestNo200BeforeItsSync(t *testing.T) {
	answers, early := watched(t, nil)
	if answers != 160 || early != nil {
		t.Errorf("%d answers were looked at; %v", answers, early)
	}
	for _, folder := range []string{"segments/", "blobs/"} {
		if _, early := watched(t, func(name string) bool { return strings.HasPrefix(name, folder) }); early == nil {
			t.Errorf("with no sync of %s nothing was found", folder)
		}
	}
}
