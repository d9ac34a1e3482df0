-- One row: the key that seals the ids of uploads.
CREATE TABLE upload_secret (secret BLOB NOT NULL);
INSERT INTO upload_secret (secret) VALUES (randomblob(32));
