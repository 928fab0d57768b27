package directory

import "os"

// syncFolder has nothing to do: Windows does not sync directories, NTFS
// journals names by itself.
func syncFolder(*os.Root, string) error { return nil }

// syncFound has nothing to do: Windows syncs no file that is open for reading.
func syncFound(*os.File) error { return nil }
