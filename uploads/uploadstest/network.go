package uploadstest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
)

// connected leaves a part out for destinations without a connection to harm.
func connected(t *testing.T, d *Destination) {
	t.Helper()
	if d.Proxy == nil {
		t.Skip("this destination has no connection")
	}
}

func cutInBody(t *testing.T, d *Destination) {
	connected(t, d)
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(4<<20, 1))
	s := d.Open(t)
	for _, n := range []int64{1, 1000, 1 << 20, 4 << 20} {
		d.Proxy.Set(Fault{CutAfter: n})
		mustRetry(t, s, p)
	}
	wantHeld(t, d)
	d.Proxy.Set(Fault{})
	deliver(t, d, s, p)
	wantHeld(t, d, p)
}

// cutBeforeAnswer loses the answers to bodies that arrived: the repeat must
// leave one file.
func cutBeforeAnswer(t *testing.T, d *Destination) {
	connected(t, d)
	s := d.Open(t)
	var parcels []uploads.Parcel
	for i, size := range []int{10, 100_000} {
		p := Parcel(t, "Inventories", fmt.Sprintf("PC%d at 20261122T093000.ndi.gz", i), Noise(size, byte(i)))
		d.Proxy.Set(Fault{CutAnswer: true})
		mustRetry(t, s, p)
		mustRetry(t, s, p)
		d.Proxy.Set(Fault{})
		deliver(t, d, s, p)
		parcels = append(parcels, p)
	}
	if d.Proxy.Cut() == 0 {
		t.Error("no answer was lost: the test proves nothing")
	}
	wantHeld(t, d, parcels...)
}

// keptAliveConnectionDies between two files: that is not worth a failure.
func keptAliveConnectionDies(t *testing.T, d *Destination) {
	connected(t, d)
	s := d.Open(t)
	var parcels []uploads.Parcel
	for i := range 20 {
		p := Parcel(t, "Logs", fmt.Sprintf("PC%d.log", i), Noise(200_000, byte(i)))
		deliver(t, d, s, p)
		d.Proxy.Drop()
		parcels = append(parcels, p)
	}
	wantHeld(t, d, parcels...)
}

func hangingDestination(t *testing.T, d *Destination) {
	connected(t, d)
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(16<<20-1, 1)) // more than the kernels' buffers
	s := d.Open(t)
	d.Proxy.Set(Fault{Hang: true})
	start := time.Now()
	mustRetry(t, s, p)
	if took := time.Since(start); took < Limits.Idle || took > 10*Limits.Answer {
		t.Errorf("gave up after %v, want about %v", took, Limits.Idle)
	}
	d.Proxy.Set(Fault{})
	deliver(t, d, s, p)
	wantHeld(t, d, p)
}

// slowDestination takes longer than a transfer may stand still, but never stands
// still.
func slowDestination(t *testing.T, d *Destination) {
	connected(t, d)
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(12<<20, 1))
	s := d.Open(t)
	d.Proxy.Set(Fault{BytesPerSecond: 5 << 19})
	start := time.Now()
	deliver(t, d, s, p)
	if took := time.Since(start); took < Limits.Idle {
		t.Errorf("took %v, less than %v: the test proves nothing", took, Limits.Idle)
	}
	wantHeld(t, d, p)
}

// answersOfStrangers come from whoever sits in between: none is a verdict, and
// none is a success.
func answersOfStrangers(t *testing.T, d *Destination) {
	connected(t, d)
	p := Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", Noise(5000, 1))
	s := d.Open(t)
	for _, answer := range []string{
		"200 OK\r\nContent-Type: text/html", // a captive portal
		"201 Created", "204 No Content",
		"302 Found\r\nLocation: http://127.0.0.1:1/login", "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/elsewhere",
		"400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "405 Method Not Allowed",
		"413 Content Too Large", "415 Unsupported Media Type", "422 Unprocessable Content", "429 Too Many Requests",
		"500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "507 Insufficient Storage", "508 Loop Detected",
	} {
		if d.Trusting && answer[0] == '2' {
			continue
		}
		body := "<html>please log in</html>"
		if strings.HasPrefix(answer, "204") {
			body = ""
		}
		d.Proxy.Set(Fault{Answer: fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", answer, len(body), body)})
		t.Run(answer[:3], func(t *testing.T) { mustRetry(t, s, p) })
	}
	wantHeld(t, d)
	d.Proxy.Set(Fault{})
	deliver(t, d, s, p)
	wantHeld(t, d, p)
}
