package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads"
)

// A sinkUnderTest is where the beacon relays to, and how to see what is there.
type sinkUnderTest struct {
	args []string
	// objects returns how often each body is there, by digest.
	objects func() (map[uploads.Digest]int, error)
}

// Every upload that got its 200 is delivered exactly once, however often the
// beacon is killed while it takes uploads and relays them.
func TestAcknowledgedUploadsSurviveKills(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		data := filepath.Join(t.TempDir(), "beacon")
		survive(t, data, sinkUnderTest{objects: func() (map[uploads.Digest]int, error) {
			return files(filepath.Join(data, "relayed", "Incoming"))
		}})
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		store := startS3(t)
		data := filepath.Join(t.TempDir(), "beacon")
		survive(t, data, sinkUnderTest{args: []string{"--config", store.config(t)}, objects: store.objects})
	})
}

func survive(t *testing.T, data string, sink sinkUnderTest) {
	acked := map[uploads.Digest]bool{}
	for round := range rounds(200, 10) {
		s, err := serve(data, sink.args...)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got := storm(t, s, round)
		for d := range got {
			acked[d] = true
		}
	}
	s := start(t, data, sink.args...)
	t.Logf("%d uploads were acknowledged", len(acked))
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged: this shows nothing")
	}
	eventually(t, 5*time.Minute, "nothing waits for its relay", func() bool { return waiting(t, data) == 0 })
	have, err := sink.objects()
	if err != nil {
		t.Fatal(err)
	}
	for d := range acked {
		if have[d] == 0 {
			t.Errorf("%v was acknowledged and is not there", d)
		}
	}
	for d, n := range have {
		if n != 1 {
			t.Errorf("%v is there %d times", d, n)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// storm lets a few senders put files until the beacon is killed at a random
// instant, and returns the digests that were acknowledged.
func storm(t *testing.T, s *server, round int) map[uploads.Digest]bool {
	acked := map[uploads.Digest]bool{}
	var mu sync.Mutex
	var senders sync.WaitGroup
	for sender := range 4 {
		senders.Go(func() {
			for n := 0; ; n++ {
				d, err := put(s, round, sender, n)
				if err != nil {
					return // the beacon is gone
				}
				mu.Lock()
				acked[d] = true
				mu.Unlock()
			}
		})
	}
	// Early instants meet the start and the first segment, late ones the relay.
	time.Sleep(time.Duration(rand.Int64N(int64(250 * time.Millisecond))))
	s.kill()
	senders.Wait()
	return acked
}

// put sends one file of any size, one in twenty large enough for a file of its
// own in the spool.
func put(s *server, round, sender, n int) (uploads.Digest, error) {
	size := rand.IntN(60 << 10)
	if rand.IntN(20) == 0 {
		size = 1<<20 + rand.IntN(1<<20)
	}
	body := bytes.Repeat([]byte{byte(n)}, size)
	body = fmt.Appendf(body, "round %d sender %d file %d", round, sender, n)
	name := fmt.Sprintf("host%d at 20260101T%06d (r%d).ndi", sender, n, round)
	req, err := http.NewRequest(http.MethodPut, s.Agents+"/ManageSoftRL/Inventories/"+url.PathEscape(name), bytes.NewReader(body))
	if err != nil {
		return uploads.Digest{}, err
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		return uploads.Digest{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return uploads.Digest{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return uploads.Digest{}, fmt.Errorf("%s: %s", resp.Status, text)
	}
	var r uploads.Receipt
	if err := json.Unmarshal(text, &r); err != nil {
		return uploads.Digest{}, err
	}
	if r.SHA256 != uploads.DigestOf(body) {
		return uploads.Digest{}, fmt.Errorf("the receipt is for %v", r.SHA256)
	}
	return r.SHA256, nil
}

// waiting asks the beacon on data how many files wait for their relay.
func waiting(t *testing.T, data string) int {
	t.Helper()
	out, said, err := command(t.Context(), "beacon", "status", "--data", data, "--json")
	if err != nil {
		t.Fatalf("beacon status: %v: %s", err, said)
	}
	var st desk.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatal(err)
	}
	return st.Spool.Files
}

// files counts the bodies below dir by digest.
func files(dir string) (map[uploads.Digest]int, error) {
	out := map[uploads.Digest]int{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreMissing(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return ignoreMissing(err) // a temporary file that was just renamed
		}
		out[uploads.DigestOf(b)]++
		return nil
	})
	return out, err
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
