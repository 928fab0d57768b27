package admission

import "time"

// Pressure is how much of what a beacon takes on is in use at one instant.
type Pressure struct {
	Connections      int `json:"connections"`
	IdleConnections  int `json:"idle_connections"` // of them, those that are only kept alive
	ConnectionsLimit int `json:"connections_limit"`
	Uploads          int `json:"uploads"` // that have a place
	UploadsLimit     int `json:"uploads_limit"`
	Large            int `json:"large_uploads"` // of them
	LargeLimit       int `json:"large_uploads_limit"`
	// Slow are uploads without a place whose first bytes take long to come.
	Slow       int   `json:"slow_uploads"`
	Bytes      int64 `json:"bytes"`                 // of bodies being taken
	BytesLimit int64 `json:"bytes_limit,omitempty"` // 0: none
	Files      int   `json:"files"`                 // that wait for their relay
	FilesLimit int   `json:"files_limit,omitempty"` // 0: none
	// Disk is the watermark that free disk is below, if it is below one.
	Disk Reason `json:"disk,omitempty"`
	// Waiting are the senders that were told when to come back, by class.
	Waiting map[string]int `json:"waiting"`
	// Rate is how many uploads a second they are let come back at, and Drained when
	// the last of them is due.
	Rate    float64       `json:"rate"`
	Drained time.Duration `json:"drained_in"`
}

// WaitingAll is how many senders were told when to come back.
func (p Pressure) WaitingAll() (n int) {
	for _, w := range p.Waiting {
		n += w
	}
	return n
}
