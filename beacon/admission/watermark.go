package admission

import "inventorybeacon/beacon/comeback"

// Watermarks are amounts of free disk. Below Logs no logs are taken, below
// Uploads no upload, and below Policy nothing is written or looked up for senders
// but policy downloads.
type Watermarks struct{ Logs, Uploads, Policy int64 }

// Below says which mark the disk is under, empty for none, if so much is free.
func (w Watermarks) Below(free int64) Reason {
	switch {
	case free < w.Policy:
		return DiskLast
	case free < w.Uploads:
		return DiskFull
	case free < w.Logs:
		return DiskLow
	}
	return ""
}

// Refuses reports whether an upload of a class has to stay away with so much
// free, its own bytes taken off, and which mark says so.
func (w Watermarks) Refuses(c comeback.Class, free int64) (Reason, bool) {
	r := w.Below(free)
	return r, r != "" && (r != DiskLow || c == comeback.Logs)
}
