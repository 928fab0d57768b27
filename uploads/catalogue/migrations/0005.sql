-- What is asked of all devices at once, out of what was told of them. NULL: it was
-- told before there were these columns, and stands in the facts alone.
ALTER TABLE told ADD COLUMN inventory    INTEGER; -- when the newest was accepted
ALTER TABLE told ADD COLUMN uploaded     INTEGER; -- when anything was
ALTER TABLE told ADD COLUMN refused      INTEGER;
ALTER TABLE told ADD COLUMN refused_code TEXT;
ALTER TABLE told ADD COLUMN skew         INTEGER; -- seconds
