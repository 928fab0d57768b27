//go:build !linux

package directory

import "os"

func startWriteback(*os.File) {}
