-- Text is compared by its bytes: SQLite's default, and COLLATE "C" in PostgreSQL.
-- A digest is one byte for the algorithm (1 sha256, 2 sha512) followed by the hash.
-- Times are milliseconds since 1970.

-- The first blob or manifest creates a repository, and the removal of the last one deletes it.
-- manifests is their number, so that an index lists the repositories that are not empty.
CREATE TABLE repositories (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL DEFAULT '',
    manifests   INTEGER NOT NULL DEFAULT 0,
    updated_at  INTEGER NOT NULL
);
CREATE INDEX repositories_listed ON repositories (name) WHERE manifests > 0;

-- Content by digest. Other tables refer to it by its short id.
-- size is NULL if only a manifest names the content, such as a foreign layer.
CREATE TABLE blobs (
    id     INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    size   INTEGER
);

-- The configs and layers of each repository.
CREATE TABLE blob_links (
    repository INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    blob       INTEGER NOT NULL REFERENCES blobs (id),
    PRIMARY KEY (repository, blob)
) WITHOUT ROWID;
CREATE INDEX blob_links_by_blob ON blob_links (blob, repository);

-- The manifests of each repository, with the fields that lists show.
CREATE TABLE manifests (
    repository    INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    blob          INTEGER NOT NULL REFERENCES blobs (id),
    media_type    TEXT NOT NULL,
    artifact_type TEXT,
    annotations   TEXT,
    is_index      INTEGER NOT NULL,
    pushed_at     INTEGER NOT NULL,
    PRIMARY KEY (repository, blob)
) WITHOUT ROWID;
CREATE INDEX manifests_by_blob ON manifests (blob, repository);

-- The descriptors of a manifest, in their order. They follow from its content, so all repositories that hold
-- the manifest share these rows, and the last one deletes them.
CREATE TABLE manifest_parts (
    manifest    INTEGER NOT NULL REFERENCES blobs (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    blob        INTEGER NOT NULL REFERENCES blobs (id),
    size        INTEGER NOT NULL,
    is_manifest INTEGER NOT NULL,
    required    INTEGER NOT NULL,
    PRIMARY KEY (manifest, position)
) WITHOUT ROWID;
CREATE INDEX manifest_parts_by_blob ON manifest_parts (blob, manifest);

-- Manifests by their subject. The subject need not exist, so the column holds a digest.
-- The keys have the order of the referrers list, with a filter and without.
CREATE TABLE referrers (
    repository    INTEGER NOT NULL,
    subject       BLOB NOT NULL,
    digest        BLOB NOT NULL,
    artifact_type TEXT,
    blob          INTEGER NOT NULL,
    PRIMARY KEY (repository, subject, digest),
    FOREIGN KEY (repository, blob) REFERENCES manifests (repository, blob) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX referrers_by_type ON referrers (repository, subject, artifact_type, digest, blob);
CREATE INDEX referrers_by_blob ON referrers (repository, blob);

-- hidden is 1 for the fallback tags of clients without the referrers API: they can be pulled but are not listed.
CREATE TABLE tags (
    repository INTEGER NOT NULL,
    name       TEXT NOT NULL,
    blob       INTEGER NOT NULL,
    hidden     INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name),
    FOREIGN KEY (repository, blob) REFERENCES manifests (repository, blob) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX tags_listed ON tags (repository, hidden, name);
CREATE INDEX tags_by_blob ON tags (repository, blob);

-- Uploads in progress. repository is a name because an upload alone creates no repository.
-- boot is the boot id of the machine that wrote the row.
CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    received   INTEGER NOT NULL,
    algorithm  TEXT NOT NULL,
    hash_state BLOB NOT NULL,
    boot       TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX uploads_by_age ON uploads (updated_at);

-- Outbox of the repositories/ view: the items that the view has not written yet. AUTOINCREMENT, because the view
-- acknowledges items by their number, so that no number may be used twice.
CREATE TABLE view_changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    kind       TEXT NOT NULL,
    item       TEXT NOT NULL
);

-- The search index, see search.rs. Each distinct word of a field: 0 name, 1 description, 2 last component of the name.
CREATE TABLE search_words (
    id    INTEGER PRIMARY KEY,
    field INTEGER NOT NULL,
    word  TEXT NOT NULL,
    UNIQUE (field, word)
);

-- Every proper suffix of a word.
CREATE TABLE search_suffixes (
    field  INTEGER NOT NULL,
    suffix TEXT NOT NULL,
    word   INTEGER NOT NULL,
    PRIMARY KEY (field, suffix, word)
) WITHOUT ROWID;

-- The repositories of a word. Results are ordered by length, the length of the repository's name.
CREATE TABLE search_postings (
    word       INTEGER NOT NULL,
    length     INTEGER NOT NULL,
    repository INTEGER NOT NULL,
    PRIMARY KEY (word, length, repository)
) WITHOUT ROWID;
