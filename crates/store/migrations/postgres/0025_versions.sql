-- Versions, by which a server notices the changes of others. The first statement of each write transaction raises
-- version. Its row lock lasts until the commit, so that transactions run one after another, and the ids of changes ascend
-- in the order of their commits.
-- accounts and webhooks are the versions of their last change. pruned is the greatest id of a deleted change.
ALTER TABLE writer
    ADD COLUMN version  BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN accounts BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN webhooks BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN pruned   BIGINT NOT NULL DEFAULT 0;

UPDATE writer SET pruned = COALESCE(
    (SELECT MIN(id) - 1 FROM changes), (SELECT MAX(cursor) FROM change_consumers), 0);

CREATE FUNCTION version_accounts() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
    UPDATE writer SET accounts = version WHERE accounts < version;
    RETURN NULL;
END $$;

-- The times of the last use are in no cache. A new token is in none either, because no refusal is.
CREATE TRIGGER version_accounts AFTER INSERT OR DELETE OR UPDATE OF
    name, kind, owner, password, source, administrator, disabled, gone, description ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION version_accounts();
CREATE TRIGGER version_accounts AFTER INSERT OR DELETE OR UPDATE ON members
    FOR EACH STATEMENT EXECUTE FUNCTION version_accounts();
CREATE TRIGGER version_accounts AFTER INSERT OR DELETE OR UPDATE ON teams
    FOR EACH STATEMENT EXECUTE FUNCTION version_accounts();
CREATE TRIGGER version_accounts AFTER INSERT OR DELETE OR UPDATE ON team_members
    FOR EACH STATEMENT EXECUTE FUNCTION version_accounts();
CREATE TRIGGER version_accounts AFTER INSERT OR DELETE OR UPDATE ON grants
    FOR EACH STATEMENT EXECUTE FUNCTION version_accounts();
CREATE TRIGGER version_accounts AFTER DELETE OR UPDATE OF
    account, kind, label, hash, rights, patterns, expires_at ON tokens
    FOR EACH STATEMENT EXECUTE FUNCTION version_accounts();
CREATE TRIGGER version_accounts AFTER INSERT OR DELETE OR UPDATE ON signing_keys
    FOR EACH STATEMENT EXECUTE FUNCTION version_accounts();

CREATE FUNCTION version_webhooks() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
    UPDATE writer SET webhooks = version WHERE webhooks < version;
    RETURN NULL;
END $$;

CREATE TRIGGER version_webhooks AFTER INSERT OR DELETE OR UPDATE ON webhooks
    FOR EACH STATEMENT EXECUTE FUNCTION version_webhooks();

CREATE FUNCTION version_pruned() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
    UPDATE writer SET pruned = GREATEST(pruned, (SELECT COALESCE(MAX(id), 0) FROM gone));
    RETURN NULL;
END $$;

CREATE TRIGGER version_pruned AFTER DELETE ON changes
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION version_pruned();
