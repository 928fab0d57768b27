//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"time"

	"inventorybeacon/agentside/inventory"
)

// inventories makes count real inventories of this machine of about size bytes
// each when compressed, all different: packages are left out of the real one, or
// installed again in other versions, until the size fits.
func inventories(size, count int) ([][]byte, error) {
	doc, err := inventory.Collect(context.Background(), inventory.Options{
		Identity: inventory.Identity{Name: "bench", Domain: "BENCH"}, Now: time.Now(),
	})
	if err != nil {
		return nil, err
	}
	var all []inventory.Package
	for i := range doc.Sections {
		all = append(all, doc.Sections[i].Packages...)
		doc.Sections[i].Packages = nil
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("this machine has no packages to fill an inventory with")
	}
	packages, err := fit(doc, all, size)
	if err != nil {
		return nil, err
	}
	bodies := make([][]byte, count)
	for i := range bodies {
		doc.Identity.Name = fmt.Sprintf("bench%04d", i)
		if bodies[i], err = compressed(doc, all, packages); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// fit finds how many packages make a document of size bytes.
func fit(doc *inventory.Document, all []inventory.Package, size int) (int, error) {
	low, high := 1, 64*len(all)
	for low < high {
		mid := (low + high) / 2
		b, err := compressed(doc, all, mid)
		if err != nil {
			return 0, err
		}
		if len(b) < size {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

func compressed(doc *inventory.Document, all []inventory.Package, packages int) ([]byte, error) {
	section := &doc.Sections[0]
	section.Packages = section.Packages[:0]
	for i := range packages {
		p := all[i%len(all)]
		if again := i / len(all); again > 0 {
			p.Version = fmt.Sprintf("%s+%x", p.Version, uint32(i)*2654435761)
		}
		section.Packages = append(section.Packages, p)
	}
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	if _, err := doc.WriteTo(zw); err != nil {
		return nil, err
	}
	return b.Bytes(), zw.Close()
}
