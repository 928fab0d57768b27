// Package admission decides what a beacon takes on: how often a sender may ask,
// how much of one sender is held, how full the disk may be, and how many uploads
// are taken at once. It knows no HTTP, starts nothing and is told the time.
//
//	Rates -> Watermarks -> Quota -> Places
//
// What it refuses it names; when the sender should come again is package
// comeback's to say.
package admission

import "inventorybeacon/beacon/comeback"

// A Reason says which limit was met; metrics count by it.
type Reason string

// The reasons.
const (
	RateAgent   Reason = "rate-agent"   // this agent asks too often
	RatePeer    Reason = "rate-peer"    // its address does
	RateChild   Reason = "rate-child"   // this relaying beacon does
	RateBeacon  Reason = "rate-beacon"  // all together do
	Stopping    Reason = "stopping"     // the beacon stops
	DiskLow     Reason = "disk-low"     // no room for logs
	DiskFull    Reason = "disk-full"    // no room for uploads
	DiskLast    Reason = "disk-last"    // what room there is belongs to policy
	QuotaFiles  Reason = "quota-files"  // too many files of this sender are held
	QuotaBytes  Reason = "quota-bytes"  // too many bytes
	Turn        Reason = "turn"         // others were promised the places there are
	InFlight    Reason = "in-flight"    // every place is taken
	LargeFlight Reason = "large-flight" // every place for a large body is
	BytesFlight Reason = "bytes-flight" // the bodies announced together are too much
	Spool       Reason = "spool"        // the spool itself refused
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{
		RateAgent, RatePeer, RateChild, RateBeacon, Stopping, DiskLow, DiskFull, DiskLast,
		QuotaFiles, QuotaBytes, Turn, InFlight, LargeFlight, BytesFlight, Spool,
	}
}

// ClassOf says how urgent a kind of upload is. What says how things are goes
// before what is counted, and that before what is only read when something is
// wrong.
func ClassOf(kind string) comeback.Class {
	switch kind {
	case "Inventories", "BeaconStatus", "Events", "CommandResults":
		return comeback.Inventory
	case "Logs", "SecurityLogs":
		return comeback.Logs
	}
	return comeback.Usage
}
