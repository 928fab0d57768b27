-- What a check found in an upload that was taken all the same.
ALTER TABLE uploads ADD COLUMN flag TEXT NOT NULL DEFAULT '';
CREATE INDEX uploads_flagged ON uploads (received) WHERE flag <> '';
