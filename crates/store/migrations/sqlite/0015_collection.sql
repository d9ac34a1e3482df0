-- 1 while garbage collection deletes the file. Nothing may refer to such a row.
ALTER TABLE blobs ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0;
CREATE INDEX blobs_deleting ON blobs (id) WHERE deleting = 1;

-- The time of the last upload or mount. A young link may be needed by a manifest that is still to come.
ALTER TABLE blob_links ADD COLUMN linked_at INTEGER NOT NULL DEFAULT 0;

-- Large content that an upload is about to commit. The transaction that links it removes its lease, so that a start
-- finds the files of uploads that never got there.
CREATE TABLE leases (
    digest     BLOB PRIMARY KEY,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Rows that garbage collection looks at once their period has passed since a time. kind: 0 a manifest that lost its
-- last holder by a deletion, 1 one that merely lost its last tag, 2 a link that no manifest needs, 3 the link of a
-- collected manifest, 4 content without links, 5 a file without a record. repository is 0 for content.
CREATE TABLE gc_candidates (
    kind       INTEGER NOT NULL,
    repository INTEGER NOT NULL,
    blob       INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    PRIMARY KEY (kind, repository, blob)
) WITHOUT ROWID;
CREATE INDEX gc_candidates_due ON gc_candidates (kind, since, repository, blob);

-- A job looks for candidates among all rows, because an older version recorded none.
INSERT INTO jobs (kind, subject, started_at) SELECT 'recount garbage', '', 0 WHERE EXISTS (SELECT 1 FROM blobs);
