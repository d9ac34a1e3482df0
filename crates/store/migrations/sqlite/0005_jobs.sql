-- Work that takes several transactions and resumes after a restart. cursor is the position to resume at, progress the
-- number of rows that are done.
CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    cursor     INTEGER NOT NULL DEFAULT 0,
    progress   INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    UNIQUE (kind, subject)
);
