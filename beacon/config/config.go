// Package config reads what an administrator tells a beacon: a YAML file,
// overridden by the environment (BEACON_…), overridden by flags. It answers
// with every mistake at once, each with its place, and knows the defaults.
package config

import (
	"net/netip"
	"path/filepath"
	"time"
)

// A Config is all that a beacon can be told. [Default] returns one that works;
// [Load] returns one that was checked.
type Config struct {
	// Data is the directory that holds everything the beacon keeps.
	Data string `yaml:"data"`
	// Name is the beacon's identity in receipts and on the way up; it must be
	// unique among the beacons that relay to each other. Empty means the host's
	// name with a random end, made once for a data directory and kept in it.
	Name string `yaml:"name"`
	// Listeners are where agents connect.
	Listeners []Listener `yaml:"listeners"`
	// Admin is the address of health, readiness and metrics.
	Admin string `yaml:"admin"`
	// Metrics is a further address for /metrics alone; empty for none.
	Metrics string `yaml:"metrics"`
	Roots   Roots  `yaml:"roots"`
	// Drop says what happens to a bundle in the drop folder: "publish".
	Drop string `yaml:"drop"`
	// Settle is how long a dropped bundle must have been still. Shorter
	// publishes sooner; longer forgives slower copying.
	Settle time.Duration `yaml:"settle"`
	// Kinds adds kinds of upload, or changes known ones, by folder.
	Kinds map[string]Kind `yaml:"kinds"`
	// UnknownKinds is "refuse" or "accept".
	UnknownKinds string    `yaml:"unknown_kinds"`
	Relay        []Relay   `yaml:"relay"`
	Spool        Spool     `yaml:"spool"`
	Resumable    Resumable `yaml:"resumable"`
	Limits       Limits    `yaml:"limits"`
	// Content is about the check of what uploads hold, Quarantine about what it,
	// or a destination, refused.
	Content    Content    `yaml:"content"`
	Quarantine Quarantine `yaml:"quarantine"`
	Kept       Kept       `yaml:"kept"`
	Retention  Retention  `yaml:"retention"`
	Fleet      Fleet      `yaml:"fleet"`
	// AgentNetworks are never dialled, whatever else is configured.
	AgentNetworks []Prefix `yaml:"agent_networks"`
	// TrustedProxies are the peers whose X-Forwarded-For counts.
	TrustedProxies []Prefix `yaml:"trusted_proxies"`
	Log            Log      `yaml:"log"`
}

// AccessAnonymous serves whoever can connect.
const AccessAnonymous = "anonymous"

// A Listener is one address for agents.
type Listener struct {
	Address string `yaml:"address"`
	// Access says who is served: "anonymous". There is no default.
	Access string `yaml:"access"`
	TLS    *TLS   `yaml:"tls"`
}

// TLS is what an HTTPS listener needs. Both files are read again when they
// change.
type TLS struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// MinVersion is "1.3" or "1.2".
	MinVersion string `yaml:"min_version"`
}

// Roots are the first path segments of the agents' URLs.
type Roots struct {
	Download string `yaml:"download"`
	Upload   string `yaml:"upload"`
}

// A Kind is one sort of upload.
type Kind struct {
	Extensions []string `yaml:"extensions"`
	Max        Bytes    `yaml:"max"`
	// Check says what becomes of files whose content is bad: "refuse", "flag" or
	// "off"; empty refuses what our agents bring and flags the rest.
	Check string `yaml:"check"`
}

// A Relay is one destination of uploads: a directory, an object store or a
// parent beacon.
type Relay struct {
	Name string `yaml:"name"`
	// Kinds it takes, by folder; all if empty.
	Kinds []string `yaml:"kinds"`
	// Required keeps a file in the spool until this destination has it; true
	// unless set to false.
	Required *bool `yaml:"required"`
	// Hours are when files go there, such as "22:00-06:00" or "sat,sun", by the
	// clock of TimeZone; always if empty. What is on its way when they end is
	// finished.
	Hours []string `yaml:"hours"`
	// TimeZone is a name such as "Europe/Berlin"; this machine's if empty.
	TimeZone string `yaml:"time_zone"`
	// Bandwidth bounds the bodies sent there, in bytes a second; 0 for no bound.
	Bandwidth Bytes      `yaml:"bandwidth"`
	Directory *Directory `yaml:"directory"`
	S3        *S3        `yaml:"s3"`
	Beacon    *Parent    `yaml:"beacon"`
}

// IsRequired reports whether files wait for this destination.
func (r Relay) IsRequired() bool { return r.Required == nil || *r.Required }

// A Directory takes plain files under Incoming/<Kind>/.
type Directory struct {
	Path string `yaml:"path"`
	// MaxFiles and MaxBytes pause the relay while that much waits for its
	// importer; 0 for no limit.
	MaxFiles int   `yaml:"max_files"`
	MaxBytes Bytes `yaml:"max_bytes"`
}

// S3 is a bucket of an S3-compatible store.
type S3 struct {
	Endpoint string `yaml:"endpoint"` // URL: http://… or https://…
	Region   string `yaml:"region"`
	Bucket   string `yaml:"bucket"`
	Prefix   string `yaml:"prefix"`
	// Key and Secret; when both are empty, and neither a file nor the role is
	// named, the usual AWS_… variables are used.
	AccessKey string `yaml:"access_key"`
	SecretKey Secret `yaml:"secret_key"`
	// CredentialsFile is one in the AWS format, with the Profile to take from it.
	CredentialsFile string `yaml:"credentials_file"`
	Profile         string `yaml:"profile"`
	// InstanceRole takes the role of this machine, container or pod.
	InstanceRole bool `yaml:"instance_role"`
	// Encryption is "AES256", "aws:kms" with KMSKey, or empty for the bucket's own.
	Encryption string `yaml:"encryption"`
	KMSKey     string `yaml:"kms_key"`
	// CreateOnly never replaces an object; for stores that the doctor proved it for.
	CreateOnly bool   `yaml:"create_only"`
	CA         string `yaml:"ca"`
	// Style is how the bucket is named in addresses: "path", "virtual", or empty
	// for what the endpoint suggests.
	Style string `yaml:"style"`
}

// Spool is about what waits for its relay.
type Spool struct {
	// Segment is the size of a journal segment; 0 picks one that fits the disk.
	Segment Bytes `yaml:"segment_bytes"`
	// Memory bounds the bodies held in memory while they arrive.
	Memory Bytes `yaml:"memory_budget"`
	// MinFree is the free space below which uploads are refused; 0 means a
	// twentieth of the disk, at most 256 MiB. More keeps policy downloads and the
	// catalogue safer; less takes uploads longer.
	MinFree Bytes `yaml:"min_free"`
	// LogFree is the free space below which logs are refused; 0 means twice MinFree.
	LogFree Bytes `yaml:"log_free"`
	// PolicyFree is the free space below which only policy is served; 0 means a
	// quarter of MinFree.
	PolicyFree Bytes `yaml:"policy_free"`
}

// Limits bound what agents can ask for. Where 0 is the default, a value that
// suits the machine is chosen, and a negative value means no limit.
type Limits struct {
	// InFlight is how many uploads are taken at once, a quarter of them larger
	// than 64 KiB; above it they are told when to come back.
	InFlight int `yaml:"in_flight"`
	// Idle is how long a sender may send nothing. Shorter frees slots sooner;
	// longer forgives worse lines.
	Idle time.Duration `yaml:"idle"`
	// Connections is how many agents may be connected to each listener.
	Connections int `yaml:"connections"`
	// ConnectionsPerPeer is how many of them may come from one address.
	ConnectionsPerPeer int `yaml:"connections_per_peer"`
	// BytesInFlight bounds what the bodies being taken add up to.
	BytesInFlight Bytes `yaml:"bytes_in_flight"`
	// SpoolFiles is how many files may wait for their relay.
	SpoolFiles int `yaml:"spool_files"`
	// Device and Child bound what of them belongs to one device, and to one beacon
	// that relays here.
	Device Share `yaml:"device"`
	Child  Share `yaml:"child"`
	// Rates bound how often senders ask.
	Rates Rates `yaml:"rates"`
}

// A Share bounds files that wait for their relay.
type Share struct {
	Files int   `yaml:"files"`
	Bytes Bytes `yaml:"bytes"`
}

// Rates are requests a second, by what is asked for.
type Rates struct {
	Policy Rate `yaml:"policy"` // downloads
	Upload Rate `yaml:"upload"` // everything with a body
	Ask    Rate `yaml:"ask"`    // everything else: is it held, receipts, reachability
}

// A Rate is how many requests a second all senders together, one relaying
// beacon, one address and one agent may make.
type Rate struct {
	Beacon int `yaml:"beacon"`
	Child  int `yaml:"child"`
	Peer   int `yaml:"peer"`
	Agent  int `yaml:"agent"`
}

// Log is about the log on stderr.
type Log struct {
	Format string `yaml:"format"` // "text", "json" or "" for what suits stderr
	Level  string `yaml:"level"`  // "debug", "info", "warn" or "error"
}

// Default returns the configuration of a beacon that was told nothing: all on
// this machine's loopback, relaying into its own data directory.
func Default() *Config {
	return &Config{
		Data:         "beacon-data",
		Listeners:    []Listener{{Address: "127.0.0.1:8080", Access: AccessAnonymous}},
		Admin:        "127.0.0.1:8090",
		Roots:        Roots{Download: "ManageSoftDL", Upload: "ManageSoftRL"},
		Drop:         "publish",
		Settle:       2 * time.Second,
		UnknownKinds: "refuse",
		Spool:        Spool{Memory: 64 << 20},
		Resumable:    defaultResumable(),
		Limits:       Limits{InFlight: 2048, Idle: 30 * time.Second, Connections: 16384},
		Content:      Content{Budget: time.Minute},
		Quarantine:   Quarantine{MaxFiles: 10_000, MaxBytes: 1 << 30, MaxAge: 90 * 24 * time.Hour},
		Kept:         defaultKept(),
		Retention:    defaultRetention(),
		Fleet:        defaultFleet(),
		Log:          Log{Level: "info"},
	}
}

// complete fills in what depends on other keys.
func (c *Config) complete() {
	if len(c.Relay) == 0 {
		c.Relay = []Relay{{Name: "relayed", Directory: &Directory{Path: filepath.Join(c.Data, RelayedDir)}}}
	}
	for i := range c.Relay {
		c.Relay[i].complete()
	}
	c.Fleet.complete()
	for i := range c.Listeners {
		t := c.Listeners[i].TLS
		if t != nil && t.MinVersion == "" {
			t.MinVersion = "1.3"
		}
	}
}

// Addrs returns the prefixes as the net/netip package has them.
func Addrs(ps []Prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(ps))
	for i, p := range ps {
		out[i] = p.Prefix
	}
	return out
}
