package uploadstest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// VersitygwEnv names the environment variable that holds the path of the S3
// server that tests run against.
const VersitygwEnv = "BEACON_TEST_VERSITYGW"

// AccessKey and SecretKey open each of these servers.
const (
	AccessKey = "testkey"
	SecretKey = "testsecret"
)

// An S3 is a real S3 server with an empty store, for one test.
type S3 struct {
	Socket               string // of the unix kind; put a Proxy in front to reach it over TCP
	Dir                  string // each bucket is a folder in it, each object a file
	AccessKey, SecretKey string
}

// NewS3 starts an S3 server that ends with the test. Without one to start, the
// test is skipped and says so.
func NewS3(t testing.TB) *S3 {
	t.Helper()
	program := os.Getenv(VersitygwEnv)
	if program == "" {
		t.Skipf("SKIPPED, NOT TESTED: no S3 server: set %s to the path of versitygw, as make test does", VersitygwEnv)
	}
	// Unix sockets have short names; t.TempDir's would be too long.
	run, err := os.MkdirTemp("", "s3")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	s := &S3{Socket: filepath.Join(run, "s"), Dir: filepath.Join(t.TempDir(), "store"), AccessKey: AccessKey, SecretKey: SecretKey}
	meta := filepath.Join(t.TempDir(), "meta")
	for _, dir := range []string{s.Dir, meta} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t, exec.Command(program, "--port", s.Socket, "--access", s.AccessKey, "--secret", s.SecretKey, "--quiet", "--keep-alive",
		"posix", "--sidecar", meta, s.Dir))
	return s
}

func (s *S3) start(t testing.TB, cmd *exec.Cmd) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("unix", s.Socket)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("the S3 server ended:\n%s", out.String())
		case <-ctx.Done():
			t.Fatalf("the S3 server does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
