-- Content that was erased from a repository. A repair does not link it again, and adoption does not take an older link of
-- it over. A push ends the mark.
CREATE TABLE erasures (
    repository TEXT NOT NULL,
    digest     BLOB NOT NULL,
    erased_at  INTEGER NOT NULL,
    account    TEXT,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
