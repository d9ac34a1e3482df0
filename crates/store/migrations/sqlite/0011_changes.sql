-- The outbox: what each transaction has changed. AUTOINCREMENT, because consumers acknowledge changes by their number.
-- tag, digest and previous say which item changed: a manifest or blob by its digest, a tag with the digests of its
-- manifest now and before. account, request_id and address are those of the actor. detail is a JSON object.
-- for_view is 1 if the repositories/ view has to write the item.
CREATE TABLE changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    repository TEXT,
    tag        TEXT,
    digest     BLOB,
    previous   BLOB,
    account    TEXT,
    request_id TEXT,
    address    TEXT,
    detail     TEXT,
    for_view   INTEGER NOT NULL
);

-- The consumers of the outbox. Each has acknowledged the changes up to its cursor. A change that all have acknowledged
-- is deleted.
CREATE TABLE change_consumers (
    name   TEXT PRIMARY KEY,
    cursor INTEGER NOT NULL
) WITHOUT ROWID;

-- Items of the view that could not be written, with the kind and spelling of the item.
CREATE TABLE view_blocked (
    repository TEXT NOT NULL,
    kind       TEXT NOT NULL,
    item       TEXT NOT NULL,
    PRIMARY KEY (repository, kind, item)
) WITHOUT ROWID;

INSERT INTO change_consumers (name, cursor)
SELECT 'view', COALESCE((SELECT MIN(id) - 1 FROM view_changes),
                        (SELECT seq FROM sqlite_sequence WHERE name = 'view_changes'), 0);

INSERT INTO changes (id, at, kind, repository, tag, digest, for_view)
SELECT id, 0,
       CASE kind WHEN 'layer' THEN 'blob.linked' WHEN 'revision' THEN 'manifest.put' WHEN 'tag' THEN 'tag.moved'
                 ELSE 'repository.deleted' END,
       repository,
       CASE kind WHEN 'tag' THEN item END,
       CASE WHEN kind IN ('layer', 'revision')
            THEN unhex(CASE SUBSTR(item, 1, 7) WHEN 'sha256:' THEN '01' ELSE '02' END || SUBSTR(item, 8)) END,
       1
FROM view_changes ORDER BY id;

-- The commit mark holds the sum of all counters, which must not sink.
DELETE FROM sqlite_sequence WHERE name = 'changes';
INSERT INTO sqlite_sequence (name, seq) SELECT 'changes', seq FROM sqlite_sequence WHERE name = 'view_changes';
DROP TABLE view_changes;

-- The actor who asked for the job.
ALTER TABLE jobs ADD COLUMN account TEXT;
ALTER TABLE jobs ADD COLUMN request_id TEXT;
ALTER TABLE jobs ADD COLUMN address TEXT;
