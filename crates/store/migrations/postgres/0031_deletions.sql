-- A collection deletes rows of `blobs`, which looks for them in the trash by `blob` alone.
DROP INDEX deleted_tags_by_blob;
CREATE INDEX deleted_tags_by_blob ON deleted_tags (blob, repository);
