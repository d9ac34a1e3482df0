-- The number of pulls and the time of the last one: of each tag, and of each manifest by its tags or its digest. Pulls
-- are counted in memory and written in batches.
ALTER TABLE tags ADD COLUMN pulls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tags ADD COLUMN pulled_at INTEGER;
ALTER TABLE manifests ADD COLUMN pulls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE manifests ADD COLUMN pulled_at INTEGER;

-- A restored manifest or tag gets its pulls back.
ALTER TABLE deleted_manifests ADD COLUMN pulls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deleted_manifests ADD COLUMN pulled_at INTEGER;
ALTER TABLE deleted_tags ADD COLUMN pulls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deleted_tags ADD COLUMN pulled_at INTEGER;
