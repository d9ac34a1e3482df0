-- The identity of a repository's `_manifests/tags` when it last held all of its tags. Only in the same directory is an
-- absent tag one that another program has removed. NULL: unknown.
ALTER TABLE view_stamps ADD COLUMN tags_directory BLOB;
