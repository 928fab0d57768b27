//go:build linux || darwin

package register

import "syscall"

// pages returns zeroed memory from the system, and how to give it back.
func pages(n int) (b []byte, free func([]byte)) {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	return b, func(b []byte) { syscall.Munmap(b) }
}
