//go:build race

package spool_test

// raced says that the race detector, which takes many times the memory and the
// time, is in.
const raced = true
