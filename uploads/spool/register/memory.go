package register

import (
	"runtime"
	"unsafe"
)

// A block is memory for n values that hold no pointers. It comes from the system
// if that is possible: on the heap, the garbage collector would let as much
// garbage gather as there are entries before it runs, so that each would cost
// twice its size. It goes back once nothing refers to the block.
type block[T any] struct{ items []T }

func newBlock[T any](n int) *block[T] {
	var zero T
	b := &block[T]{}
	raw, free := pages(n * int(unsafe.Sizeof(zero)))
	if raw == nil {
		b.items = make([]T, n)
		return b
	}
	b.items = unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), n)
	runtime.AddCleanup(b, free, raw)
	return b
}
