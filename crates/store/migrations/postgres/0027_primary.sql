-- The primary of several servers: the URL at which the others reach it, and the secret of their requests to it.
ALTER TABLE writer
    ADD COLUMN address TEXT NOT NULL DEFAULT '',
    ADD COLUMN secret  TEXT NOT NULL DEFAULT '';
