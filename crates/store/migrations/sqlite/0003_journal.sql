-- The blob journal: small content whose file may not be synced yet. AUTOINCREMENT, because a flush acknowledges
-- everything up to a number while newer content comes in.
CREATE TABLE unsettled_contents (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    digest  BLOB NOT NULL UNIQUE,
    content BLOB NOT NULL
);
