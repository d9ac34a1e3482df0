-- The space of the repositories of each owner, and in the row '' that of everything: each digest counts once. It
-- follows pushes and deletions some seconds later, or minutes if a count takes long. changes is the number of changes
-- since the last count. counted_at is NULL before the first one.
CREATE TABLE space (
    owner        TEXT COLLATE "C" PRIMARY KEY,
    repositories BIGINT NOT NULL DEFAULT 0,
    blobs        BIGINT NOT NULL DEFAULT 0,
    bytes        BIGINT NOT NULL DEFAULT 0,
    unreferenced BIGINT NOT NULL DEFAULT 0,
    changes      BIGINT NOT NULL DEFAULT 1,
    counted_at   BIGINT
);
CREATE INDEX space_changed ON space (owner) WHERE changes > 0;

INSERT INTO space (owner)
SELECT DISTINCT SPLIT_PART(name, '/', 1) FROM repositories WHERE STRPOS(name, '/') > 0;
INSERT INTO space (owner) VALUES ('');

-- A repository with a row is noticed by the count of its own size.
CREATE FUNCTION space_repository_deleted() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
    IF STRPOS(OLD.name, '/') > 0 THEN
        INSERT INTO space (owner) VALUES (SPLIT_PART(OLD.name, '/', 1))
            ON CONFLICT (owner) DO UPDATE SET changes = space.changes + 1;
    END IF;
    INSERT INTO space (owner) VALUES ('') ON CONFLICT (owner) DO UPDATE SET changes = space.changes + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER space_repository_deleted AFTER DELETE ON repositories
    FOR EACH ROW EXECUTE FUNCTION space_repository_deleted();

-- The names with the values of each order, so that a list in an order for an account that may see some repositories
-- reads this index alone.
DROP INDEX repositories_listed;
CREATE INDEX repositories_listed ON repositories (name, updated_at, bytes, pulls) WHERE manifests > 0;
-- Names to filter by, behind each position.
DROP INDEX repositories_by_update;
DROP INDEX repositories_by_size;
DROP INDEX repositories_by_pulls;
CREATE INDEX repositories_by_update ON repositories (updated_at, id, name) WHERE manifests > 0;
CREATE INDEX repositories_by_size ON repositories (bytes, id, name) WHERE manifests > 0;
CREATE INDEX repositories_by_pulls ON repositories (pulls, id, name) WHERE manifests > 0;

-- Accounts by name in any case: names that differ in case alone would be taken for each other.
CREATE INDEX accounts_by_name_in_any_case ON accounts (LOWER(name));
-- The deleted manifests of a repository, the latest first.
CREATE INDEX deleted_manifests_by_repository ON deleted_manifests (repository, id);
