-- The stamp of each directory below repositories/ when its links were last written or compared with the metadata.
-- Another program has changed a directory with another stamp.
CREATE TABLE view_stamps (
    directory TEXT PRIMARY KEY,
    stamp     BLOB NOT NULL
) WITHOUT ROWID;

-- Paths below repositories/ that could not be adopted, by the directory that is scanned again.
CREATE TABLE view_problems (
    directory TEXT NOT NULL,
    path      BLOB NOT NULL,
    problem   TEXT NOT NULL,
    PRIMARY KEY (directory, path, problem)
) WITHOUT ROWID;
