-- What an upstream registry said of a tag when it was asked last. The tag that is served is in `tags`.
CREATE TABLE upstream_tags (
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    -- NULL if the upstream does not have the tag.
    digest     BLOB,
    -- When the upstream first named this digest for the tag, in milliseconds since 1970.
    first_seen INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
