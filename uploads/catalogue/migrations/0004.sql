-- The contacts in the order in which their state changed, more than in the time of
-- the last contact: fleet status tells of those after a number.
INSERT OR IGNORE INTO meta VALUES ('changes', 0);
CREATE TABLE news (
	contact INTEGER PRIMARY KEY,
	change  INTEGER NOT NULL
) STRICT;
CREATE INDEX news_change ON news (change);
CREATE TRIGGER contact_came AFTER INSERT ON contacts WHEN new.name_key <> '' BEGIN
	UPDATE meta SET value = value + 1 WHERE key = 'changes';
	INSERT INTO news SELECT new.id, value FROM meta WHERE key = 'changes' ON CONFLICT (contact) DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER contact_changed AFTER UPDATE ON contacts WHEN new.name_key <> '' AND
	(old.device IS NOT new.device OR old.address <> new.address OR old.version <> new.version OR old.revision <> new.revision
	OR old.error <> new.error OR old.policy_status <> new.policy_status OR old.policy_code <> new.policy_code
	OR old.refusal_status <> new.refusal_status OR old.refusal_code <> new.refusal_code) BEGIN
	UPDATE meta SET value = value + 1 WHERE key = 'changes';
	INSERT INTO news SELECT new.id, value FROM meta WHERE key = 'changes' ON CONFLICT (contact) DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER contact_went AFTER DELETE ON contacts BEGIN
	DELETE FROM news WHERE contact = old.id;
END;
CREATE TRIGGER activity_came AFTER INSERT ON activity BEGIN
	UPDATE meta SET value = value + 1 WHERE key = 'changes';
	INSERT INTO news SELECT c.id, m.value FROM contacts AS c, meta AS m WHERE c.device = new.device AND m.key = 'changes'
		ON CONFLICT (contact) DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER activity_changed AFTER UPDATE ON activity BEGIN
	UPDATE meta SET value = value + 1 WHERE key = 'changes';
	INSERT INTO news SELECT c.id, m.value FROM contacts AS c, meta AS m WHERE c.device = new.device AND m.key = 'changes'
		ON CONFLICT (contact) DO UPDATE SET change = excluded.change;
END;

-- The last word of each beacon below, by who brought it: what one child says never
-- takes the place of what another said.
CREATE TABLE words (
	beacon   TEXT NOT NULL, -- whose word it is
	child    TEXT NOT NULL, -- the beacon that relayed it here
	at       INTEGER NOT NULL, -- when it was said
	received INTEGER NOT NULL,
	every    INTEGER NOT NULL, -- seconds between reports
	state    TEXT NOT NULL, -- JSON
	PRIMARY KEY (beacon, child)
) STRICT, WITHOUT ROWID;

-- What these beacons heard of devices.
CREATE TABLE told (
	id         INTEGER PRIMARY KEY,
	beacon     TEXT NOT NULL,
	child      TEXT NOT NULL,
	domain_key TEXT NOT NULL,
	name_key   TEXT NOT NULL,
	agent_id   TEXT NOT NULL,
	address    TEXT NOT NULL,
	at         INTEGER NOT NULL,
	seen       INTEGER NOT NULL,
	facts      TEXT NOT NULL, -- JSON, as it was told
	UNIQUE (name_key, domain_key, agent_id, beacon, child)
) STRICT;
CREATE INDEX told_child   ON told (child);
CREATE INDEX told_seen    ON told (seen);
CREATE INDEX told_address ON told (address) WHERE address <> '';
CREATE INDEX told_agent   ON told (agent_id) WHERE agent_id <> '';
