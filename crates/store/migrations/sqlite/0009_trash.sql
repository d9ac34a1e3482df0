-- The trash: deleted content that can be restored until its grace period ends. Its rows keep content alive.
-- repository is a name, because a row outlives its repository. batch is the job of a repository's deletion, and run
-- the run of a retention rule: their rows are restored together.
CREATE TABLE deleted_manifests (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    repository    TEXT NOT NULL,
    blob          INTEGER NOT NULL REFERENCES blobs (id),
    media_type    TEXT NOT NULL,
    artifact_type TEXT,
    annotations   TEXT,
    is_index      INTEGER NOT NULL,
    subject       BLOB,
    pushed_at     INTEGER NOT NULL,
    description   TEXT NOT NULL,
    deleted_at    INTEGER NOT NULL,
    account       TEXT,
    reason        TEXT NOT NULL,
    run           TEXT,
    batch         INTEGER,
    UNIQUE (repository, blob)
);
CREATE INDEX deleted_manifests_by_blob ON deleted_manifests (blob);
CREATE INDEX deleted_manifests_by_time ON deleted_manifests (deleted_at);
CREATE INDEX deleted_manifests_by_run ON deleted_manifests (run) WHERE run IS NOT NULL;
CREATE INDEX deleted_manifests_by_subject ON deleted_manifests (repository, subject) WHERE subject IS NOT NULL;

-- The tags that were deleted with a manifest.
CREATE TABLE deleted_tags (
    repository TEXT NOT NULL,
    name       TEXT NOT NULL,
    blob       INTEGER NOT NULL REFERENCES blobs (id),
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE INDEX deleted_tags_by_blob ON deleted_tags (repository, blob);
CREATE INDEX deleted_tags_by_time ON deleted_tags (deleted_at);

-- The blob links that were deleted with a repository, or by a client.
CREATE TABLE deleted_links (
    repository TEXT NOT NULL,
    blob       INTEGER NOT NULL REFERENCES blobs (id),
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (repository, blob)
) WITHOUT ROWID;
CREATE INDEX deleted_links_by_blob ON deleted_links (blob);
CREATE INDEX deleted_links_by_time ON deleted_links (deleted_at);
