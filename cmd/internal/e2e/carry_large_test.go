//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"

	"inventorybeacon/uploads"
)

// A large file is carried in bounded memory on both sides.
func TestLargeFileIsCarried(t *testing.T) {
	t.Parallel()
	site := treeBeacon(t, "site", "  - name: up\n    beacon: {url: \"http://127.0.0.1:1/ManageSoftRL\"}\n")
	centre := treeBeacon(t, "centre", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n", t.TempDir()))
	size := int64(rounds(250, 100)) << 20
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, site.Agents+"/ManageSoftRL/Logs/"+url.PathEscape("ws1 at 20260310T172738.log"), io.LimitReader(rand.NewChaCha8([32]byte{2}), size))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	resp, err := plainClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	var r uploads.Receipt
	json.NewDecoder(resp.Body).Decode(&r)
	resp.Body.Close()
	file := filepath.Join(t.TempDir(), "site.tar")
	before := site.peak(t)
	exportTo(t, site.Data, file)
	if grown := site.peak(t) - before; grown > 48<<20 {
		t.Errorf("the export took %d MiB", grown>>20)
	}
	before = centre.peak(t)
	got, said, err := carried(t, centre.Data, file, "--key", publicKey(site))
	if err != nil || got.New != 1 || got.NewBytes != size {
		t.Fatalf("%+v, %v: %s", got, err, said)
	}
	if grown := centre.peak(t) - before; grown > 96<<20 {
		t.Errorf("the import took %d MiB", grown>>20)
	}
	if have, held := receiptAt(t, centre, r); !held || !sameReceipt(r, have) {
		t.Errorf("%+v, sent %+v", have, r)
	}
}
