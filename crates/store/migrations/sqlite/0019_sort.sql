-- Orders of the list of repositories: by size and by pulls. bytes follows pushes some seconds later: is_sized is 0 until
-- it is counted again. pulls counts all pulls of the repository.
ALTER TABLE repositories ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN is_sized INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN pulls INTEGER NOT NULL DEFAULT 0;
UPDATE repositories SET pulls =
    COALESCE((SELECT SUM(m.pulls) FROM manifests m WHERE m.repository = repositories.id), 0);
CREATE INDEX repositories_by_size ON repositories (bytes, id) WHERE manifests > 0;
CREATE INDEX repositories_by_pulls ON repositories (pulls, id) WHERE manifests > 0;
CREATE INDEX repositories_unsized ON repositories (id) WHERE is_sized = 0;
