-- Use of each quota. A scope is a set of repositories; a repository belongs to the scopes of the rules that match it.
CREATE TABLE quota_scopes (
    id    INTEGER PRIMARY KEY,
    scope TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL DEFAULT 0,
    tags  INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE quota_members (
    repository INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    scope      INTEGER NOT NULL REFERENCES quota_scopes (id) ON DELETE CASCADE,
    PRIMARY KEY (repository, scope)
) WITHOUT ROWID;
CREATE INDEX quota_members_by_scope ON quota_members (scope);

-- The blobs and manifests of each scope, with the number of rows that hold them, so that each digest counts once.
CREATE TABLE quota_blobs (
    blob    INTEGER NOT NULL REFERENCES blobs (id) ON DELETE CASCADE,
    scope   INTEGER NOT NULL REFERENCES quota_scopes (id) ON DELETE CASCADE,
    holders INTEGER NOT NULL,
    PRIMARY KEY (blob, scope)
) WITHOUT ROWID;
CREATE INDEX quota_blobs_by_scope ON quota_blobs (scope);

-- One row: the rules that the counters follow.
CREATE TABLE quota_rules (rules TEXT NOT NULL);
INSERT INTO quota_rules (rules) VALUES ('');

-- Triggers keep the counters, so that no statement can forget them.
CREATE TRIGGER quota_blob_linked AFTER INSERT ON blob_links
WHEN EXISTS (SELECT 1 FROM quota_members WHERE repository = NEW.repository) BEGIN
    INSERT INTO quota_blobs (blob, scope, holders)
        SELECT NEW.blob, scope, 1 FROM quota_members WHERE repository = NEW.repository
        ON CONFLICT (blob, scope) DO UPDATE SET holders = holders + 1;
    UPDATE quota_scopes SET bytes = bytes + COALESCE((SELECT size FROM blobs WHERE id = NEW.blob), 0)
        WHERE id IN (SELECT m.scope FROM quota_members m
                     JOIN quota_blobs b ON b.blob = NEW.blob AND b.scope = m.scope
                     WHERE m.repository = NEW.repository AND b.holders = 1);
END;
CREATE TRIGGER quota_manifest_put AFTER INSERT ON manifests
WHEN EXISTS (SELECT 1 FROM quota_members WHERE repository = NEW.repository) BEGIN
    INSERT INTO quota_blobs (blob, scope, holders)
        SELECT NEW.blob, scope, 1 FROM quota_members WHERE repository = NEW.repository
        ON CONFLICT (blob, scope) DO UPDATE SET holders = holders + 1;
    UPDATE quota_scopes SET bytes = bytes + COALESCE((SELECT size FROM blobs WHERE id = NEW.blob), 0)
        WHERE id IN (SELECT m.scope FROM quota_members m
                     JOIN quota_blobs b ON b.blob = NEW.blob AND b.scope = m.scope
                     WHERE m.repository = NEW.repository AND b.holders = 1);
END;
CREATE TRIGGER quota_blob_unlinked AFTER DELETE ON blob_links
WHEN EXISTS (SELECT 1 FROM quota_members WHERE repository = OLD.repository) BEGIN
    UPDATE quota_blobs SET holders = holders - 1
        WHERE blob = OLD.blob AND scope IN (SELECT scope FROM quota_members WHERE repository = OLD.repository);
    UPDATE quota_scopes SET bytes = bytes - COALESCE((SELECT size FROM blobs WHERE id = OLD.blob), 0)
        WHERE id IN (SELECT scope FROM quota_blobs WHERE blob = OLD.blob AND holders = 0);
    DELETE FROM quota_blobs WHERE blob = OLD.blob AND holders = 0;
END;
CREATE TRIGGER quota_manifest_deleted AFTER DELETE ON manifests
WHEN EXISTS (SELECT 1 FROM quota_members WHERE repository = OLD.repository) BEGIN
    UPDATE quota_blobs SET holders = holders - 1
        WHERE blob = OLD.blob AND scope IN (SELECT scope FROM quota_members WHERE repository = OLD.repository);
    UPDATE quota_scopes SET bytes = bytes - COALESCE((SELECT size FROM blobs WHERE id = OLD.blob), 0)
        WHERE id IN (SELECT scope FROM quota_blobs WHERE blob = OLD.blob AND holders = 0);
    DELETE FROM quota_blobs WHERE blob = OLD.blob AND holders = 0;
END;
CREATE TRIGGER quota_size_changed AFTER UPDATE OF size ON blobs WHEN NEW.size IS NOT OLD.size BEGIN
    UPDATE quota_scopes SET bytes = bytes + COALESCE(NEW.size, 0) - COALESCE(OLD.size, 0)
        WHERE id IN (SELECT scope FROM quota_blobs WHERE blob = NEW.id);
END;
CREATE TRIGGER quota_tag_put AFTER INSERT ON tags WHEN NEW.hidden = 0 BEGIN
    UPDATE quota_scopes SET tags = tags + 1
        WHERE id IN (SELECT scope FROM quota_members WHERE repository = NEW.repository);
END;
CREATE TRIGGER quota_tag_deleted AFTER DELETE ON tags WHEN OLD.hidden = 0 BEGIN
    UPDATE quota_scopes SET tags = tags - 1
        WHERE id IN (SELECT scope FROM quota_members WHERE repository = OLD.repository);
END;
CREATE TRIGGER quota_tag_hidden AFTER UPDATE OF hidden ON tags WHEN NEW.hidden <> OLD.hidden BEGIN
    UPDATE quota_scopes SET tags = tags + OLD.hidden - NEW.hidden
        WHERE id IN (SELECT scope FROM quota_members WHERE repository = NEW.repository);
END;

-- Each creation, move and deletion of a tag. previous is NULL for a creation, digest is NULL for a deletion. account,
-- request_id, reason and run are those of the actor.
CREATE TABLE tag_history (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    at         INTEGER NOT NULL,
    previous   BLOB,
    digest     BLOB,
    account    TEXT,
    request_id TEXT,
    reason     TEXT,
    run        TEXT
);
CREATE INDEX tag_history_by_tag ON tag_history (repository, tag, id);
CREATE INDEX tag_history_by_run ON tag_history (run, id) WHERE run IS NOT NULL;
CREATE INDEX tag_history_by_time ON tag_history (at);

-- The retention rules that owners have set for their repositories, as JSON.
CREATE TABLE retention_rules (
    owner      TEXT PRIMARY KEY,
    rules      TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
