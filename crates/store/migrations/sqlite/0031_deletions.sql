-- A collection deletes rows of `blobs`, which looks for them in the trash by `blob` alone.
DROP INDEX deleted_tags_by_blob;
CREATE INDEX deleted_tags_by_blob ON deleted_tags (blob, repository);

-- Statistics for the query planner, as of repositories with 1,000 tags and referrers each. Without any, SQLite
-- takes the primary key for "repository = ? AND blob = ?", so that each deletion of a manifest reads all tags
-- and referrers of its repository.
ANALYZE identity;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('tags', 'tags', '1000000 1000 1'),
    ('tags', 'tags_by_blob', '1000000 1000 2'),
    ('tags', 'tags_listed', '1000000 1000 1000 1'),
    ('referrers', 'referrers', '1000000 1000 2 1'),
    ('referrers', 'referrers_by_blob', '1000000 1000 1'),
    ('referrers', 'referrers_by_type', '1000000 1000 2 2 1 1'),
    ('deleted_tags', 'deleted_tags', '1000000 1000 1'),
    ('deleted_tags', 'deleted_tags_by_blob', '1000000 2 2'),
    ('deleted_tags', 'deleted_tags_by_time', '1000000 100');
ANALYZE sqlite_schema;
