-- One row: the check that reads all content. cursor is the id of the last blob that it has read, bytes their sum; both
-- are 0 between two checks. ended_at is the time of the last end, 0 before the first start of the server.
CREATE TABLE content_check (
    cursor   INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    ended_at INTEGER NOT NULL
);
INSERT INTO content_check (cursor, bytes, ended_at) VALUES (0, 0, 0);
