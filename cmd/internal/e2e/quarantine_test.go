package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/quarantine"
)

// putOurs sends a file as our agent does.
func putOurs(t *testing.T, s *server, kind, name string, body []byte) (r uploads.Receipt) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.Agents+"/ManageSoftRL/"+kind+"/"+url.PathEscape(name), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Beacon-Agent", `id="a1", domain="EXAMPLE", name="ws1"`)
	resp, err := plainClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return r
}

func inQuarantine(t *testing.T, s *server, flags ...string) (out []quarantine.Entry) {
	t.Helper()
	text, said, err := command(t.Context(), "beacon", append([]string{"uploads", "quarantine", "list", "--json", "--data", s.Data}, flags...)...)
	if err != nil {
		t.Fatalf("quarantine list: %v: %s", err, said)
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// What the check found after the answer waits for a person, who releases one
// file and drops another, on a running beacon and on a stopped one.
func TestPersonDecidesAboutQuarantine(t *testing.T) {
	t.Parallel()
	s := start(t, filepath.Join(t.TempDir(), "beacon"))
	decide := func(what, receipt string) {
		t.Helper()
		if out, said, err := command(t.Context(), "beacon", "uploads", "quarantine", what, receipt[:6], "--data", s.Data); err != nil {
			t.Errorf("%s: %v: %s%s", what, err, out, said)
		}
	}
	var bad []uploads.Receipt
	for _, name := range []string{"ws1 at 20260310T172738.ndi.gz", "ws1 at 20260310T172739.ndi.gz", "ws1 at 20260310T172740.ndi.gz", "ws1 at 20260310T172741.ndi.gz"} {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		io.WriteString(w, `<Inventory MachineName="ws1" Scope="EXAMPLE"><open></Inventory>`+name)
		w.Close()
		bad = append(bad, putOurs(t, s, "Inventories", name, b.Bytes()))
	}
	eventually(t, 30*time.Second, "all are in quarantine", func() bool { return len(inQuarantine(t, s)) == len(bad) })
	if u := shown(t, s, bad[0].ID); u.State != "quarantined" || !strings.Contains(u.Detail, "XML") {
		t.Errorf("%+v", u)
	}
	decide("release", bad[0].ID)
	decide("drop", bad[1].ID)
	eventually(t, 30*time.Second, "the released file is delivered", func() bool {
		return shown(t, s, bad[0].ID).State == "delivered" && arrivedAt(t, s.Data, bad[0].SHA256) == 1
	})
	if u := shown(t, s, bad[0].ID); !u.Received.Equal(bad[0].Received) || u.Device != "ws1" || u.Domain != "EXAMPLE" || u.Flag != "" {
		t.Errorf("released as %+v, it came as %+v", u, bad[0])
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	decide("release", bad[2].ID)
	decide("drop", bad[3].ID)
	if left := inQuarantine(t, s); len(left) != 0 {
		t.Errorf("still in quarantine: %+v", left)
	}
	if left := inQuarantine(t, s, "--left"); len(left) != 2 || left[0].Left == nil || left[0].Left.By == "" {
		t.Errorf("dropped: %+v", left)
	}
	if _, said, err := command(t.Context(), "beacon", "uploads", "quarantine", "release", bad[3].ID, "--data", s.Data); err == nil {
		t.Errorf("a dropped file was released: %s", said)
	}
	s = start(t, s.Data)
	eventually(t, 30*time.Second, "what was released meanwhile is delivered", func() bool { return arrivedAt(t, s.Data, bad[2].SHA256) == 1 })
	for i, want := range map[int]string{1: "lost", 2: "delivered", 3: "lost"} {
		if u := shown(t, s, bad[i].ID); string(u.State) != want {
			t.Errorf("%s is %s, want %s", u.Name, u.State, want)
		}
	}
}
