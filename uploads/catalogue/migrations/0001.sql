-- Times are Unix milliseconds, 0 if unknown. A *_key column holds what two
-- spellings of one name have in common.

CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE uploads (
	seq        INTEGER PRIMARY KEY,
	receipt    TEXT NOT NULL,
	kind       TEXT NOT NULL COLLATE NOCASE,
	name       TEXT NOT NULL,
	domain     TEXT NOT NULL,
	device     TEXT NOT NULL,
	domain_key TEXT NOT NULL,
	device_key TEXT NOT NULL,
	agent_id   TEXT NOT NULL,
	sha256     BLOB NOT NULL,
	bytes      INTEGER NOT NULL,
	received   INTEGER NOT NULL,
	modified   INTEGER NOT NULL,
	beacon     TEXT NOT NULL,
	via        TEXT NOT NULL, -- JSON list, or nothing
	peer       TEXT NOT NULL,
	recovered  INTEGER NOT NULL,
	state      TEXT NOT NULL DEFAULT 'waiting',
	ended      INTEGER NOT NULL DEFAULT 0, -- the last delivery, or the loss
	reason     TEXT NOT NULL DEFAULT '',
	detail     TEXT NOT NULL DEFAULT '',
	resent     INTEGER NOT NULL DEFAULT 0 -- the upload that took a lost one's place
) STRICT;
CREATE INDEX uploads_received ON uploads (received);
CREATE INDEX uploads_kind     ON uploads (kind, received);
CREATE INDEX uploads_device   ON uploads (device_key, received) WHERE device_key <> '';
CREATE INDEX uploads_receipt  ON uploads (receipt);
CREATE INDEX uploads_state    ON uploads (state, received) WHERE state <> 'delivered';

CREATE TABLE deliveries (
	seq     INTEGER NOT NULL,
	sink    TEXT NOT NULL,
	at      INTEGER NOT NULL,
	custody TEXT NOT NULL, -- JSON list, or nothing
	PRIMARY KEY (seq, sink)
) STRICT, WITHOUT ROWID;

-- A loss has its own copy of what it needs, since after damage the upload may
-- never have been indexed.
CREATE TABLE losses (
	seq        INTEGER PRIMARY KEY,
	receipt    TEXT NOT NULL,
	kind       TEXT NOT NULL,
	name       TEXT NOT NULL,
	domain     TEXT NOT NULL,
	device     TEXT NOT NULL,
	domain_key TEXT NOT NULL,
	device_key TEXT NOT NULL,
	sha256     BLOB NOT NULL,
	bytes      INTEGER NOT NULL,
	received   INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	reason     TEXT NOT NULL,
	detail     TEXT NOT NULL,
	resent     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX losses_at      ON losses (at);
CREATE INDEX losses_receipt ON losses (receipt) WHERE resent = 0;
CREATE INDEX losses_device  ON losses (device_key, at);

CREATE TABLE devices (
	id         INTEGER PRIMARY KEY,
	domain     TEXT NOT NULL,
	name       TEXT NOT NULL,
	domain_key TEXT NOT NULL,
	name_key   TEXT NOT NULL,
	first_seen INTEGER NOT NULL,
	last_seen  INTEGER NOT NULL,
	uploads    INTEGER NOT NULL DEFAULT 0,
	bytes      INTEGER NOT NULL DEFAULT 0,
	introducer TEXT NOT NULL, -- whose upload made it a device; bounded per introducer
	UNIQUE (name_key, domain_key)
) STRICT;
CREATE INDEX devices_seen       ON devices (last_seen);
CREATE INDEX devices_introducer ON devices (introducer);

CREATE TABLE activity (
	device   INTEGER NOT NULL,
	kind     TEXT NOT NULL,
	uploads  INTEGER NOT NULL,
	bytes    INTEGER NOT NULL,
	last     INTEGER NOT NULL,
	last_seq INTEGER NOT NULL,
	PRIMARY KEY (device, kind)
) STRICT, WITHOUT ROWID;

-- One row for each identity that spoke: a name with an agent id. Rows whose name
-- is not (yet) a device's are strangers.
CREATE TABLE contacts (
	id         INTEGER PRIMARY KEY,
	device     INTEGER, -- NULL: a stranger
	domain     TEXT NOT NULL,
	name       TEXT NOT NULL,
	domain_key TEXT NOT NULL,
	name_key   TEXT NOT NULL,
	agent_id   TEXT NOT NULL,
	place      TEXT NOT NULL, -- the address, for who gave no name
	origin     TEXT NOT NULL, -- the first address; strangers are bounded per origin
	first_seen INTEGER NOT NULL,
	last_seen  INTEGER NOT NULL,
	requests   INTEGER NOT NULL,
	address    TEXT NOT NULL,
	version    TEXT NOT NULL,
	revision   INTEGER NOT NULL,
	digest     TEXT NOT NULL,
	spool      INTEGER NOT NULL,
	skew       INTEGER,          -- milliseconds ahead of this beacon
	error      TEXT NOT NULL,
	policy_at      INTEGER NOT NULL,
	policy_status  INTEGER NOT NULL,
	policy_code    TEXT NOT NULL,
	policy_what    TEXT NOT NULL,
	refusal_at     INTEGER NOT NULL,
	refusal_status INTEGER NOT NULL,
	refusal_code   TEXT NOT NULL,
	refusal_what   TEXT NOT NULL,
	UNIQUE (name_key, domain_key, agent_id, place)
) STRICT;
CREATE INDEX contacts_device   ON contacts (device) WHERE device IS NOT NULL;
CREATE INDEX contacts_agent    ON contacts (agent_id) WHERE agent_id <> '';
CREATE INDEX contacts_address  ON contacts (address);
CREATE INDEX contacts_stranger ON contacts (last_seen) WHERE device IS NULL;
CREATE INDEX contacts_origin   ON contacts (origin) WHERE device IS NULL;
