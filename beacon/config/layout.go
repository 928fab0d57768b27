package config

// The data directory's entries.
const (
	DropDir       = "drop"         // administrators put bundles here
	PolicyDir     = "policy"       // published revisions
	SpoolDir      = "spool"        // uploads on their way up
	KeptDir       = "kept"         // newest inventories
	LedgerFile    = "ledger.json"  // how far losses have been told upstream
	FleetFile     = "fleet.json"   // how far fleet status has been delivered
	FleetReadDir  = "fleet-read"   // how far the reports in stores have been read
	ExpectedFile  = "expected.csv" // the devices that should report
	QuarantineDir = "quarantine"   // what a destination will never take
	CatalogueFile = "catalog.db"   // the index
	KeysDir       = "keys"         // keys and certificates
	NameFile      = "keys/name"    // identity of a beacon that was configured without one
	ProvenFile    = "proven.json"  // incumbents' servers that turned out to be beacons of ours
	RelayedDir    = "relayed"      // where uploads go unless configured otherwise
)
