-- Restored images of an upstream can be evicted again.
ALTER TABLE deleted_manifests ADD COLUMN fetched INTEGER NOT NULL DEFAULT 0;
