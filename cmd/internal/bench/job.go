//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// work runs one job: a process of its own that ends when it is done.
func work(name string, args []string) error { return jobs[name](args) }

var jobs = map[string]func(args []string) error{
	"copy": func(args []string) error { return copyAll(args[0], args[1]) },
	"fill": fillSpool,
	"open": openSpool,

	"receipts-fill": fillReceipts,
	"receipts-open": openReceipts,
}

func job(name string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return spawn(self, append([]string{"job", name}, args...)...)
}

func copyFiles(dir string) (*child, error) {
	return job("copy", filepath.Join(dir, "source"), filepath.Join(dir, "copied"))
}

// copyAll is the alternative to the relay's groups: 16 workers, each of which
// makes one file durable after the other.
func copyAll(from, to string) error {
	names, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	next := make(chan string)
	errs := make(chan error, 16)
	var workers sync.WaitGroup
	for range cap(errs) {
		workers.Go(func() {
			for n := range next {
				if err := copyDurably(filepath.Join(from, n), filepath.Join(to, n)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for _, n := range names {
		next <- n.Name()
	}
	close(next)
	workers.Wait()
	close(errs)
	return <-errs
}

func copyDurably(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to + ".tmp")
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := os.Rename(to+".tmp", to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// The store that both sides of the S3 row write to.
const (
	versitygw = ".tools/bin/versitygw"
	bucket    = "inventory"
	accessKey = "bench"
	secretKey = "bench-secret"
)

// storeAddress is where the store of the run in progress listens.
var storeAddress string

func launchStore(dir string) (*child, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "store")
	if err := os.Mkdir(data, 0o755); err != nil {
		return nil, err
	}
	c, err := spawn(versitygw, "--port", addr, "--access", accessKey, "--secret", secretKey, "--quiet", "posix", data)
	if err != nil {
		return nil, fmt.Errorf("%w: make tools first", err)
	}
	if err := c.await(addr); err != nil {
		return nil, err
	}
	storeAddress = addr
	client, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, "")})
	if err != nil {
		return nil, err
	}
	return c, client.MakeBucket(context.Background(), bucket, minio.MakeBucketOptions{})
}

func intoStore(string) string {
	return fmt.Sprintf("s3: {endpoint: %q, bucket: %s, access_key: %s, secret_key: %s, style: path}", "http://"+storeAddress, bucket, accessKey, secretKey)
}

func copyToStore(dir string) (*child, error) {
	if _, err := exec.LookPath("rclone"); err != nil {
		return nil, fmt.Errorf("%w: install rclone", err)
	}
	remote := fmt.Sprintf(":s3,provider=Other,endpoint='http://%s',access_key_id=%s,secret_access_key=%s,force_path_style=true:%s", storeAddress, accessKey, secretKey, bucket)
	cmd := exec.Command("rclone", "--config", "", "copy", "--transfers", "16", filepath.Join(dir, "source"), remote)
	// It takes nothing of the environment's own store, and some certificate
	// settings there end it.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	cmd.Stderr = os.Stderr
	return &child{cmd: cmd}, cmd.Start()
}
