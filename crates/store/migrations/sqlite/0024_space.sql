-- The space of the repositories of each owner, and in the row '' that of everything: each digest counts once. It
-- follows pushes and deletions some seconds later, or minutes if a count takes long. changes is the number of changes
-- since the last count. counted_at is NULL before the first one.
CREATE TABLE space (
    owner        TEXT PRIMARY KEY,
    repositories INTEGER NOT NULL DEFAULT 0,
    blobs        INTEGER NOT NULL DEFAULT 0,
    bytes        INTEGER NOT NULL DEFAULT 0,
    unreferenced INTEGER NOT NULL DEFAULT 0,
    changes      INTEGER NOT NULL DEFAULT 1,
    counted_at   INTEGER
) WITHOUT ROWID;
CREATE INDEX space_changed ON space (owner) WHERE changes > 0;

INSERT INTO space (owner)
SELECT DISTINCT SUBSTR(name, 1, INSTR(name, '/') - 1) FROM repositories WHERE INSTR(name, '/') > 0;
INSERT INTO space (owner) VALUES ('');

-- A repository with a row is noticed by the count of its own size.
CREATE TRIGGER space_repository_deleted AFTER DELETE ON repositories BEGIN
    INSERT INTO space (owner)
        SELECT SUBSTR(OLD.name, 1, INSTR(OLD.name, '/') - 1) WHERE INSTR(OLD.name, '/') > 0
        ON CONFLICT (owner) DO UPDATE SET changes = changes + 1;
    INSERT INTO space (owner) VALUES ('') ON CONFLICT (owner) DO UPDATE SET changes = changes + 1;
END;

-- The names with the values of each order, so that a list in an order for an account that may see some repositories
-- reads this index alone. An index covers a statement only if it has all its columns, so manifests is one of them.
DROP INDEX repositories_listed;
CREATE INDEX repositories_listed ON repositories (name, updated_at, bytes, pulls, manifests) WHERE manifests > 0;
-- Names to filter by, behind each position.
DROP INDEX repositories_by_update;
DROP INDEX repositories_by_size;
DROP INDEX repositories_by_pulls;
CREATE INDEX repositories_by_update ON repositories (updated_at, id, name, manifests) WHERE manifests > 0;
CREATE INDEX repositories_by_size ON repositories (bytes, id, name, manifests) WHERE manifests > 0;
CREATE INDEX repositories_by_pulls ON repositories (pulls, id, name, manifests) WHERE manifests > 0;

-- Accounts by name in any case: names that differ in case alone would be taken for each other.
CREATE INDEX accounts_by_name_in_any_case ON accounts (LOWER(name));
-- The deleted manifests of a repository, the latest first.
CREATE INDEX deleted_manifests_by_repository ON deleted_manifests (repository, id);
