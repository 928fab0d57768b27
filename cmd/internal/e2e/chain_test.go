package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
)

// child starts a beacon that relays to another.
func child(t *testing.T, parent *server) *server {
	t.Helper()
	name := filepath.Join(t.TempDir(), "child.yaml")
	text := fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:0", access: anonymous}
unknown_kinds: accept
relay:
  - name: hub
    beacon: {url: "%s/ManageSoftRL"}
`, parent.Agents)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, filepath.Join(t.TempDir(), "child"), "--config", name)
}

func putFile(t *testing.T, s *server, kind, name, body string) uploads.Receipt {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.Agents+"/ManageSoftRL/"+kind+"/"+url.PathEscape(name), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r uploads.Receipt
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return r
}

func shown(t *testing.T, s *server, receipt string) (u catalogue.Upload) {
	t.Helper()
	out, said, err := command(t.Context(), "beacon", "uploads", "show", receipt, "--json", "--data", s.Data)
	if err != nil {
		t.Fatalf("uploads show: %v: %s", err, said)
	}
	if err := json.Unmarshal([]byte(out), &u); err != nil {
		t.Fatal(err)
	}
	return u
}

// A chain of two beacons that nobody gave names: a file goes up with one receipt
// on both, and what the parent refuses lies in the child's quarantine.
func TestChildRelaysToParent(t *testing.T) {
	t.Parallel()
	parent := start(t, filepath.Join(t.TempDir(), "parent"))
	c := child(t, parent)

	r := putFile(t, c, "Logs", "ws1 at 20260310T172738.log", "hello")
	eventually(t, 30*time.Second, "the file is in the parent's directory", func() bool { return arrivedAt(t, parent.Data, r.SHA256) == 1 })
	eventually(t, 30*time.Second, "the child knows", func() bool { return shown(t, c, r.ID).State == "delivered" })
	if above := shown(t, parent, r.ID); len(above.Via) != 1 || above.Via[0] != r.Beacon || above.Beacon == r.Beacon {
		t.Errorf("at the parent: %+v; the child is %s", above, r.Beacon)
	}

	refused := putFile(t, c, "Weather", "ws1 at 20260310T172739.sun", "no parent takes this")
	eventually(t, 30*time.Second, "the refused file is in quarantine", func() bool { return shown(t, c, refused.ID).State == "quarantined" })
	if u := shown(t, c, refused.ID); !strings.Contains(u.Detail, "hub") || !strings.Contains(u.Detail, "bad-kind") {
		t.Errorf("%+v", u)
	}
	for range 2 { // of the running beacon, and of the stopped one
		out, said, err := command(t.Context(), "beacon", "uploads", "cat", refused.ID, "--data", c.Data)
		if err != nil || out != "no parent takes this" {
			t.Errorf("cat: %q, %v: %s", out, err, said)
		}
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
