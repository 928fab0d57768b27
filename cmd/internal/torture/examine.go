//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/minio/minio-go/v7"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
)

// readers is how many objects are read at a time.
const readers = 8

// inventory reads the whole bucket and counts each file in it, by receipt.
func (s *store) inventory(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	objects := s.client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true})
	found := map[string]int{}
	var mu sync.Mutex
	var first error
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for o := range objects {
				err := o.Err
				var receipt string
				if err == nil {
					receipt, err = s.read(ctx, o.Key)
				}
				mu.Lock()
				if err == nil {
					found[receipt]++
				} else if first == nil {
					first = err
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return found, first
}

// read returns the receipt of the file that an object is, if its bytes are what
// its metadata say.
func (s *store) read(ctx context.Context, key string) (string, error) {
	body, err := s.client.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", fmt.Errorf("object %s: %w", key, err)
	}
	defer body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, body); err != nil {
		return "", fmt.Errorf("object %s: %w", key, err)
	}
	info, err := body.Stat()
	if err != nil {
		return "", fmt.Errorf("object %s: %w", key, err)
	}
	kind, text, announced, err := identity(info)
	if err != nil {
		return "", err
	}
	name, err := uploads.ParseName(text)
	if err != nil {
		return "", fmt.Errorf("object %s: %w", key, err)
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != announced {
		return "", fmt.Errorf("object %s has the digest %s and says it has %s", key, have, announced)
	}
	return uploads.ReceiptID(kind, name, uploads.Digest(sum.Sum(nil))), nil
}

// fewLines is how much is printed of what was found.
const fewLines = 20

// examine compares what was promised with what is in the bucket.
func (s *site) examine(ctx context.Context) (v verdict, err error) {
	have, err := s.store.inventory(ctx)
	if err != nil {
		return v, err
	}
	claims, _ := s.ledger.snapshot()
	accounted := 0
	for _, c := range claims {
		switch have[c.receipt] {
		case 0:
			state, err := s.fate(ctx, c)
			if err != nil {
				return v, err
			}
			if state != "" {
				accounted++
				fmt.Printf("  %s/%s is not in the store: %s\n", c.kind, c.name, state)
				continue
			}
			if v.lost++; v.lost <= fewLines {
				fmt.Printf("  LOST: %s/%s, receipt %s\n", c.kind, c.name, c.receipt)
			}
		case 1:
		default:
			s.ledger.doubled(c.receipt, fmt.Sprintf("%s/%s is in the bucket %d times", c.kind, c.name, have[c.receipt]))
		}
	}
	_, doubles := s.ledger.snapshot()
	for i, how := range doubles {
		if i < fewLines {
			fmt.Println("  DOUBLED:", how)
		}
	}
	v.rounds, v.acknowledged, v.doubled = s.kills, len(claims), len(doubles)
	fmt.Printf("in the bucket: %d files, %d of the %d acknowledged, and %d in a ledger\n", len(have), len(claims)-v.lost-accounted, len(claims), accounted)
	return v, nil
}

// fate is what a beacon's ledger says of a file that did not arrive; empty if no
// beacon says anything. That it was delivered is no account of it.
func (s *site) fate(ctx context.Context, c claim) (string, error) {
	var errs []error
	for _, n := range []*node{s.hub, s.leaf} {
		var u catalogue.Upload
		if err := n.ask(ctx, &u, "uploads", "show", c.receipt); err != nil {
			errs = append(errs, err)
			continue
		}
		if u.State == catalogue.StateLost || u.State == catalogue.StateQuarantined {
			return fmt.Sprintf("%s says %s: %s", n.name, u.State, u.Detail), nil
		}
	}
	if len(errs) == 2 {
		return "", errors.Join(errs...)
	}
	return "", nil
}
