package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/uploadstest"
)

// An s3 is a real S3 server with one empty bucket.
type s3 struct {
	endpoint string
	client   *minio.Client
}

const (
	bucket    = "inventory"
	accessKey = uploadstest.AccessKey
	secretKey = uploadstest.SecretKey
)

func startS3(t *testing.T) *s3 {
	t.Helper()
	addr := uploadstest.NewProxy(t, "unix", uploadstest.NewS3(t).Socket).Addr
	client, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return &s3{"http://" + addr, client}
}

// config writes a beacon's configuration that relays to the bucket.
func (s *s3) config(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "beacon.yaml")
	text := fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:0", access: anonymous}
relay:
  - name: store
    s3: {endpoint: %q, region: us-east-1, bucket: %s, access_key: %s, secret_key: %s}
`, s.endpoint, bucket, accessKey, secretKey)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// objects counts the bodies in the bucket by digest.
func (s *s3) objects() (map[uploads.Digest]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out := map[uploads.Digest]int{}
	for o := range s.client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return nil, o.Err
		}
		body, err := s.client.GetObject(ctx, bucket, o.Key, minio.GetObjectOptions{})
		if err != nil {
			return nil, err
		}
		d, err := digest(body)
		if err != nil {
			return nil, err
		}
		out[d]++
	}
	return out, nil
}

func digest(body io.ReadCloser) (uploads.Digest, error) {
	defer body.Close()
	b, err := io.ReadAll(body)
	return uploads.DigestOf(b), err
}
