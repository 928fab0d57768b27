//go:build !linux && !darwin

package register

// pages has no memory but the heap's.
func pages(int) (b []byte, free func([]byte)) { return nil, nil }
