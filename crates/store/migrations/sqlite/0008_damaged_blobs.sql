-- 1 if the stored bytes do not have the digest. The blob counts as absent until it is pushed again.
ALTER TABLE blobs ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;
