package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// generation is the number that every part of a test bundle carries.
var generation = regexp.MustCompile(`generation-(\d+)`)

// bundleFiles are the parts of a bundle of one generation: a device that is
// told two different numbers was told parts of two revisions.
func bundleFiles(n int) map[string]string {
	return map[string]string{
		"bundle.yaml": fmt.Sprintf(`bundle: whole
applies_to: {devices: ["*"]}
schedule:
  - event: Update generation-%[1]d
    run: policy
    triggers: [{type: daily, at: "00:05"}]
settings:
  Tracker: {Mark: generation-%[1]d}
failover:
  beacons: [{name: generation-%[1]d, url: "http://b%[1]d.example.com"}]
`, n),
	}
}

func writeFolder(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for name, text := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var href = regexp.MustCompile(`\$\(DownloadRootURL\)/([^"]+\.osd)`)
var bodyName = regexp.MustCompile(`[^"<>/]+~[0-9a-f]{16}\.nds`)

// fetchAll takes one device's policy and everything it lists, and returns the
// generations it met; none if no bundle applies yet.
func fetchAll(ctx context.Context, base string) (map[string]bool, error) {
	policy, status, err := get(ctx, base+"/ManageSoftDL/Policies/Merged/EXAMPLE_domain/Machine/ws1.npl?agent=1&os=linux&arch=amd64")
	if err != nil || status == http.StatusNotFound {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("policy: %d: %s", status, policy)
	}
	seen := map[string]bool{}
	packages := href.FindAllStringSubmatch(policy, -1)
	for _, p := range packages {
		osd := base + "/ManageSoftDL/" + strings.ReplaceAll(p[1], " ", "%20")
		catalogue, status, err := get(ctx, osd)
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("%s: %d %v", osd, status, err)
		}
		name := bodyName.FindString(catalogue)
		body, status, err := get(ctx, osd[:strings.LastIndex(osd, "/")+1]+strings.ReplaceAll(name, " ", "%20"))
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("body %q of %s: %d %v", name, osd, status, err)
		}
		for _, m := range generation.FindAllString(body, -1) {
			seen[m] = true
		}
	}
	return seen, nil
}

func get(ctx context.Context, url string) (body string, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", 0, err
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), resp.StatusCode, err
}

// watch fetches without pause until stop is called, and then reports every
// mixture that any fetch met.
func watch(t *testing.T, base string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	fetches, whole := 0, 0
	wg.Go(func() {
		for ctx.Err() == nil {
			seen, err := fetchAll(ctx, base)
			if ctx.Err() != nil {
				return
			}
			fetches++
			if err != nil {
				t.Errorf("fetch: %v", err)
				return
			}
			if len(seen) > 1 {
				t.Errorf("one fetch met %v", seen)
			}
			if len(seen) == 1 {
				whole++
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		t.Logf("%d fetches, %d of a whole policy", fetches, whole)
	}
}

// inForce reports whether a device is told exactly generation n.
func inForce(t *testing.T, base string, n int) func() bool {
	return func() bool {
		seen, err := fetchAll(t.Context(), base)
		return err == nil && len(seen) == 1 && seen[fmt.Sprintf("generation-%d", n)]
	}
}

func TestSlowCopyIsPublishedWhole(t *testing.T) {
	t.Parallel()
	s := start(t, filepath.Join(t.TempDir(), "beacon"))
	stop := watch(t, s.Agents)
	defer stop()
	files := bundleFiles(1)
	staging := map[string]string{}
	for i := range 8 {
		staging[fmt.Sprintf("ClientSettings/Part %d/Part %d.osd", i, i)] = fmt.Sprintf("generation-7 part %d", i)
	}
	dir := filepath.Join(s.Data, "drop", "slow")
	for name, text := range staging {
		writeFolder(t, dir, map[string]string{name: text})
		time.Sleep(300 * time.Millisecond)
	}
	eventually(t, 30*time.Second, "all parts of the slow copy are served", func() bool {
		for i := range 8 {
			_, status, err := get(t.Context(), fmt.Sprintf("%s/ManageSoftDL/ClientSettings/Part%%20%d/Part%%20%d.osd", s.Agents, i, i))
			if err != nil {
				t.Fatal(err)
			}
			if status != http.StatusOK {
				if i > 0 {
					t.Fatalf("part 0 is served and part %d is not", i)
				}
				return false
			}
		}
		return true
	})
	writeFolder(t, filepath.Join(s.Data, "drop", "whole"), files)
	eventually(t, 30*time.Second, "the bundle is in force", inForce(t, s.Agents, 1))
}

func TestCutArchiveIsNeverPublished(t *testing.T) {
	t.Parallel()
	s := start(t, filepath.Join(t.TempDir(), "beacon"))
	stop := watch(t, s.Agents)
	defer stop()
	whole := archive(t, bundleFiles(1))
	for tenth := 1; tenth < 10; tenth++ {
		name := filepath.Join(s.Data, "drop", fmt.Sprintf("cut%d.tar.gz", tenth))
		if err := os.WriteFile(name, whole[:len(whole)*tenth/10], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 60*time.Second, "every cut archive is rejected with its reason", func() bool {
		why, err := filepath.Glob(filepath.Join(s.Data, "drop", "rejected", "cut*.why.txt"))
		return err == nil && len(why) == 9
	})
	if seen, err := fetchAll(t.Context(), s.Agents); err != nil || seen != nil {
		t.Errorf("a cut archive is in force: %v, %v", seen, err)
	}
	if err := os.WriteFile(filepath.Join(s.Data, "drop", "good.tar.gz"), whole, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the whole archive is in force", inForce(t, s.Agents, 1))
}

func TestReplacedBundleIsServedWhole(t *testing.T) {
	t.Parallel()
	s := start(t, filepath.Join(t.TempDir(), "beacon"))
	stop := watch(t, s.Agents)
	defer stop()
	const last = 12
	for n := 1; n <= last; n++ {
		tmp := filepath.Join(s.Data, "drop", ".next")
		if err := os.WriteFile(tmp, archive(t, bundleFiles(n)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(s.Data, "drop", "whole.tar.gz")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond) // some settle, some are replaced before or while they are read
	}
	eventually(t, 30*time.Second, "the last one is in force", inForce(t, s.Agents, last))
}

// A beacon killed during publication comes back with a whole revision.
func TestKilledPublicationLeavesAWholeRevision(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "beacon")
	n := 0
	for round := range rounds(40, 6) {
		s, err := serve(data)
		if err != nil {
			t.Fatal(err)
		}
		seen, err := fetchAll(t.Context(), s.Agents)
		if err != nil || n > 0 && len(seen) != 1 {
			t.Fatalf("round %d: %v, %v", round, seen, err)
		}
		for range 3 {
			n++
			dir := filepath.Join(t.TempDir(), "whole")
			writeFolder(t, dir, bundleFiles(n))
			ctx, cancel := context.WithCancel(t.Context())
			if round%2 == 0 && n%3 == 0 {
				time.AfterFunc(time.Duration(round)*time.Millisecond, s.kill) // from before the call to after its answer
			}
			_, said, err := command(ctx, "beacon", "policy", "publish", dir, "--data", data)
			cancel()
			if err != nil && round%2 == 1 {
				t.Fatalf("publish: %v: %s", err, said)
			}
		}
		s.kill()
	}
	s := start(t, data)
	n++
	dir := filepath.Join(t.TempDir(), "whole")
	writeFolder(t, dir, bundleFiles(n))
	if _, said, err := command(t.Context(), "beacon", "policy", "publish", dir, "--data", data); err != nil {
		t.Fatalf("publish after all: %v: %s", err, said)
	}
	eventually(t, 10*time.Second, "the last one is in force", inForce(t, s.Agents, n))
}
