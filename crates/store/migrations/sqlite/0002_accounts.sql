-- Ids of accounts, teams, grants and tokens are never reused (AUTOINCREMENT): a cache may still hold the entry of a
-- deleted one.

-- Users, organisations and robots share one name space. An administrator sets disabled.
-- gone is 1 for a user that the htpasswd file no longer contains.
CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    owner         INTEGER REFERENCES accounts (id) ON DELETE CASCADE,
    password      TEXT,
    source        TEXT NOT NULL,
    administrator INTEGER NOT NULL DEFAULT 0,
    disabled      INTEGER NOT NULL DEFAULT 0,
    gone          INTEGER NOT NULL DEFAULT 0,
    description   TEXT NOT NULL DEFAULT '',
    created_at    INTEGER NOT NULL,
    last_seen_at  INTEGER
);
CREATE INDEX accounts_by_kind ON accounts (kind, name);
CREATE INDEX accounts_by_owner ON accounts (owner, name) WHERE owner IS NOT NULL;
CREATE INDEX accounts_administrators ON accounts (id) WHERE administrator = 1;

-- The members of organisations with their roles.
CREATE TABLE members (
    organisation INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    account      INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    role         TEXT NOT NULL,
    PRIMARY KEY (organisation, account)
) WITHOUT ROWID;
CREATE INDEX members_by_account ON members (account, organisation);

CREATE TABLE teams (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    organisation INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (organisation, name)
);

CREATE TABLE team_members (
    team    INTEGER NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    PRIMARY KEY (team, account)
) WITHOUT ROWID;
CREATE INDEX team_members_by_account ON team_members (account, team);

-- subject_kind: 0 everyone, 1 all accounts (subject is 0 for both), 2 an account, 3 a team.
-- prefix is the key of lookups: the whole pattern if it has no wildcard, else its leading components without one,
-- with the slash. rights: 1 pull, 2 push, 4 delete, 8 administer.
CREATE TABLE grants (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    subject_kind INTEGER NOT NULL,
    subject      INTEGER NOT NULL,
    pattern      TEXT NOT NULL,
    prefix       TEXT NOT NULL,
    rights       INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (subject_kind, subject, pattern)
);
CREATE INDEX grants_of_subject ON grants (subject_kind, subject, prefix, pattern, rights);
CREATE INDEX grants_by_prefix ON grants (prefix);

-- Personal tokens, secrets of robots, and refresh tokens, by their SHA-256. rights and patterns (JSON) restrict the
-- token; NULL means no restriction.
CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind         TEXT NOT NULL,
    label        TEXT NOT NULL,
    hash         BLOB NOT NULL UNIQUE,
    rights       INTEGER,
    patterns     TEXT,
    expires_at   INTEGER,
    last_used_at INTEGER,
    created_at   INTEGER NOT NULL
);
CREATE INDEX tokens_by_account ON tokens (account, id);
CREATE INDEX tokens_by_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;

-- The keys that sign bearer tokens.
CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY,
    secret     BLOB NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- The audit log. account is a name and no reference, because an entry outlives its account.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    account    TEXT,
    address    TEXT,
    action     TEXT NOT NULL,
    object     TEXT,
    verdict    TEXT NOT NULL,
    status     INTEGER,
    request_id TEXT,
    detail     TEXT
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_account ON audit (account, id);

-- The account that began the upload: NULL without an account, '' if the account was deleted.
ALTER TABLE uploads ADD COLUMN account TEXT;
