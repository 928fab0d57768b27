-- Losses that other beacons, and agents, reported. A row belongs to the report
-- that told of it, by its receipt.
CREATE TABLE reported (
	beacon     TEXT NOT NULL, -- who lost it
	at         INTEGER NOT NULL,
	seq        INTEGER NOT NULL, -- of the event there
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
	reason     TEXT NOT NULL,
	detail     TEXT NOT NULL,
	resent     INTEGER NOT NULL DEFAULT 0, -- the upload with the same bytes that came here later
	report     TEXT NOT NULL,
	PRIMARY KEY (beacon, at, seq)
) STRICT;
CREATE INDEX reported_at      ON reported (at);
CREATE INDEX reported_receipt ON reported (receipt) WHERE resent = 0;
CREATE INDEX reported_device  ON reported (device_key, at);
CREATE INDEX reported_report  ON reported (report);

-- What lies in kept/.
CREATE TABLE kept (
	receipt    TEXT PRIMARY KEY,
	kind       TEXT NOT NULL COLLATE NOCASE,
	name       TEXT NOT NULL,
	domain     TEXT NOT NULL,
	device     TEXT NOT NULL,
	domain_key TEXT NOT NULL,
	device_key TEXT NOT NULL,
	sha256     BLOB NOT NULL,
	bytes      INTEGER NOT NULL,
	received   INTEGER NOT NULL,
	taken      INTEGER NOT NULL -- when the file was made
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_device ON kept (device_key, kind, taken);

-- Sinks that will never take a file, and custody that was heard of later.
CREATE TABLE refusals (
	seq    INTEGER NOT NULL,
	sink   TEXT NOT NULL,
	at     INTEGER NOT NULL,
	detail TEXT NOT NULL,
	PRIMARY KEY (seq, sink)
) STRICT, WITHOUT ROWID;
CREATE TABLE learnt (
	seq     INTEGER NOT NULL,
	event   INTEGER NOT NULL,
	at      INTEGER NOT NULL,
	custody TEXT NOT NULL, -- JSON list
	PRIMARY KEY (seq, event)
) STRICT, WITHOUT ROWID;

CREATE INDEX uploads_sum ON uploads (resent, state, received, bytes);

-- What was passed over so far is in the journal: it is read again.
DELETE FROM uploads;
DELETE FROM deliveries;
DELETE FROM losses;
DELETE FROM activity;
UPDATE contacts SET device = NULL;
DELETE FROM devices;
DELETE FROM meta WHERE key IN ('position', 'other_uploads');
