-- The last restoration of the database from a backup or from the bucket, as 16 hexadecimal digits; empty: none. Links
-- in the bucket that were complete before are compared again.
ALTER TABLE identity ADD COLUMN restoration TEXT NOT NULL DEFAULT '';
