//! The tables, and how a database of an older version gets them.
//!
//! A migration, once released, is never changed: the next one is added below it.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::columns::now;
use crate::StoreError;

/// The statements of one step from one version of the schema to the next.
struct Migration {
    /// Counts from 1, without gaps.
    version: u32,
    /// What it is for.
    name: &'static str,
    /// What it does.
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "repositories, manifests, tags, uploads, search", sql: FIRST },
    Migration { version: 2, name: "accounts, organisations, grants, tokens, audit", sql: ACCOUNTS },
    Migration { version: 3, name: "unsettled content", sql: JOURNALED },
    Migration { version: 4, name: "ids of uploads", sql: UPLOAD_SECRET },
    Migration { version: 5, name: "jobs", sql: JOBS },
    Migration { version: 6, name: "identity of the database", sql: IDENTITY },
    Migration { version: 7, name: "state of the repositories view", sql: VIEW_STATE },
    Migration { version: 8, name: "damaged blobs", sql: DAMAGED_BLOBS },
];

/// Marks a SQLite file as ours ("Whrf"), so that another program's database is not taken for one.
const APPLICATION_ID: i32 = 0x5768_7266;

/// Text is compared by its bytes: SQLite's default, and `COLLATE "C"` in PostgreSQL.
/// Digests are kept as one byte for the algorithm (1 sha256, 2 sha512) and the hash.
/// Moments are milliseconds since 1970.
const FIRST: &str = "
-- A repository: made by the first blob or manifest that comes in, gone with the last.
-- manifests counts those that it holds, so that lists can pass over the empty ones by an index.
CREATE TABLE repositories (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL DEFAULT '',
    manifests   INTEGER NOT NULL DEFAULT 0,
    updated_at  INTEGER NOT NULL
);
CREATE INDEX repositories_listed ON repositories (name) WHERE manifests > 0;

-- Content that is known by its digest; a short id stands for it everywhere else.
-- size is NULL where a manifest names content that never came in, such as a foreign layer.
CREATE TABLE blobs (
    id     INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    size   INTEGER
);

-- Which repository holds which config or layer.
CREATE TABLE blob_links (
    repository INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    blob       INTEGER NOT NULL REFERENCES blobs (id),
    PRIMARY KEY (repository, blob)
) WITHOUT ROWID;
CREATE INDEX blob_links_by_blob ON blob_links (blob, repository);

-- Which repository holds which manifest, and what is listed of it.
CREATE TABLE manifests (
    repository    INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    blob          INTEGER NOT NULL REFERENCES blobs (id),
    media_type    TEXT NOT NULL,
    artifact_type TEXT,
    annotations   TEXT,
    is_index      INTEGER NOT NULL,
    pushed_at     INTEGER NOT NULL,
    PRIMARY KEY (repository, blob)
) WITHOUT ROWID;
CREATE INDEX manifests_by_blob ON manifests (blob, repository);

-- What a manifest is made of, in its own order. It follows from the manifest's content, so it is
-- kept once for all repositories that hold the manifest, and goes with the last of them.
CREATE TABLE manifest_parts (
    manifest    INTEGER NOT NULL REFERENCES blobs (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    blob        INTEGER NOT NULL REFERENCES blobs (id),
    size        INTEGER NOT NULL,
    is_manifest INTEGER NOT NULL,
    required    INTEGER NOT NULL,
    PRIMARY KEY (manifest, position)
) WITHOUT ROWID;
CREATE INDEX manifest_parts_by_blob ON manifest_parts (blob, manifest);

-- Which manifest refers to which subject. The subject need not exist, so it is a digest here; the
-- order of the keys is the order in which referrers are listed, with a filter and without.
CREATE TABLE referrers (
    repository    INTEGER NOT NULL,
    subject       BLOB NOT NULL,
    digest        BLOB NOT NULL,
    artifact_type TEXT,
    blob          INTEGER NOT NULL,
    PRIMARY KEY (repository, subject, digest),
    FOREIGN KEY (repository, blob) REFERENCES manifests (repository, blob) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX referrers_by_type ON referrers (repository, subject, artifact_type, digest, blob);
CREATE INDEX referrers_by_blob ON referrers (repository, blob);

-- Tags. hidden marks the fallback tags of clients without the referrers API, which are pulled
-- like any other but not listed.
CREATE TABLE tags (
    repository INTEGER NOT NULL,
    name       TEXT NOT NULL,
    blob       INTEGER NOT NULL,
    hidden     INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name),
    FOREIGN KEY (repository, blob) REFERENCES manifests (repository, blob) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX tags_listed ON tags (repository, hidden, name);
CREATE INDEX tags_by_blob ON tags (repository, blob);

-- Uploads on their way. They name their repository rather than point to it: an upload alone makes
-- no repository. boot is the boot of the machine under which the row was written.
CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    received   INTEGER NOT NULL,
    algorithm  TEXT NOT NULL,
    hash_state BLOB NOT NULL,
    boot       TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX uploads_by_age ON uploads (updated_at);

-- What of the repositories/ view is still to be written. AUTOINCREMENT, because the number of a
-- enqueue must never be used again: it is how a writer says which ones it has dealt with.
CREATE TABLE view_changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    kind       TEXT NOT NULL,
    item       TEXT NOT NULL
);

-- The search index; search.rs tells how it is used. Each distinct word of a field
-- (0 name, 1 description, 2 last component of the name) …
CREATE TABLE search_words (
    id    INTEGER PRIMARY KEY,
    field INTEGER NOT NULL,
    word  TEXT NOT NULL,
    UNIQUE (field, word)
);

-- … every ending of it but the word itself …
CREATE TABLE search_suffixes (
    field  INTEGER NOT NULL,
    suffix TEXT NOT NULL,
    word   INTEGER NOT NULL,
    PRIMARY KEY (field, suffix, word)
) WITHOUT ROWID;

-- … and the repositories that it leads to, with the length of their names, by which they are ordered.
CREATE TABLE search_postings (
    word       INTEGER NOT NULL,
    length     INTEGER NOT NULL,
    repository INTEGER NOT NULL,
    PRIMARY KEY (word, length, repository)
) WITHOUT ROWID;
";

/// Numbers of accounts, teams, grants and tokens are never used again (AUTOINCREMENT): what was
/// remembered of one that is gone must never be taken for another.
const ACCOUNTS: &str = "
-- Users, organisations and robots: one name space. disabled is what an administrator said; gone
-- says of a user of the htpasswd file that the file has it no more.
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

-- Who has which role in an organisation.
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

-- Who may do what on which repositories. subject_kind: 0 everyone, 1 all accounts (subject is 0
-- for both), 2 an account, 3 a team. prefix is what lookups find a pattern by: the name itself if
-- it is exact, else its leading components without a wildcard, with their slash. rights: 1 pull,
-- 2 push, 4 delete, 8 administer.
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

-- Secrets with which somebody signs in, by their SHA-256: personal tokens, robots' secrets,
-- refresh tokens. rights and patterns (JSON) restrict what the account may do; NULL does not.
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

-- What the registry signs its bearer tokens with.
CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY,
    secret     BLOB NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- What was done and refused. account is a name, not a reference: it outlives the account.
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

-- Whose upload it is; NULL where it began without an account. '' where its account is gone.
ALTER TABLE uploads ADD COLUMN account TEXT;
";

const JOURNALED: &str = "
-- Content whose file may not be on the disk yet. AUTOINCREMENT, because who has made everything up
-- to a number durable says so by that number, and meanwhile more may come in.
CREATE TABLE unsettled_contents (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    digest  BLOB NOT NULL UNIQUE,
    content BLOB NOT NULL
);
";

const UPLOAD_SECRET: &str = "
-- What the ids of uploads are sealed with; one row.
CREATE TABLE upload_secret (secret BLOB NOT NULL);
INSERT INTO upload_secret (secret) VALUES (randomblob(32));
";

const JOBS: &str = "
-- Work that takes more than one transaction, and continues after a restart. cursor is where it continues, progress the
-- number of rows that it has dealt with.
CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    cursor     INTEGER NOT NULL DEFAULT 0,
    progress   INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    UNIQUE (kind, subject)
);
";

const IDENTITY: &str = "
-- Which database this is, for the files beside it; one row.
CREATE TABLE identity (id TEXT NOT NULL);
INSERT INTO identity (id) VALUES (lower(hex(randomblob(16))));
";

const VIEW_STATE: &str = "
-- What each directory below repositories/ looked like when its links were last compared with the
-- metadata or written: a directory that looks otherwise was changed by another program.
CREATE TABLE view_stamps (
    directory TEXT PRIMARY KEY,
    stamp     BLOB NOT NULL
) WITHOUT ROWID;

-- What was found below repositories/ and could not be adopted, by the directory that is read again.
CREATE TABLE view_problems (
    directory TEXT NOT NULL,
    path      BLOB NOT NULL,
    problem   TEXT NOT NULL,
    PRIMARY KEY (directory, path, problem)
) WITHOUT ROWID;
";

const DAMAGED_BLOBS: &str = "
-- 1: the stored bytes are known not to have the digest. The blob counts as absent until it is pushed again.
ALTER TABLE blobs ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;
";

/// Brings the database at `path`, which `connection` has opened, to the newest version.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let id: i32 = connection
        .query_row("PRAGMA application_id", (), |row| row.get(0))
        .map_err(|error| unreadable(error, path))?;
    let is_new = !connection.prepare("SELECT 1 FROM sqlite_schema LIMIT 1")?.exists(())?;
    if id != APPLICATION_ID && !is_new {
        return Err(StoreError::Directory(format!("{} is a database of another program", path.display())));
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if is_new {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
            version    INTEGER PRIMARY KEY,
            name       TEXT NOT NULL,
            applied_at INTEGER NOT NULL
        )",
    )?;
    let current: u32 = transaction
        .query_row("SELECT version FROM schema_migrations ORDER BY version DESC LIMIT 1", (), |row| {
            row.get(0)
        })
        .optional()?
        .unwrap_or(0);
    let newest = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if current > newest {
        return Err(StoreError::Directory(format!(
            "{} was written by a newer version (its schema is {current}, this version knows up to {newest}); \
             use that version, or a newer one",
            path.display()
        )));
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > current) {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?1, ?2, ?3)",
            params![migration.version, migration.name, now()],
        )?;
    }
    Ok(transaction.commit()?)
}

/// What to tell of a file that cannot be read as a database.
pub(super) fn unreadable(error: rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            StoreError::Directory(format!("{} is not a database", path.display()))
        }
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged(format!("the database {}", path.display())),
        Some(ErrorCode::CannotOpen) => {
            StoreError::Directory(format!("{} cannot be opened: {error}", path.display()))
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;

    use super::super::Metadata;
    use super::super::fixtures::{empty, manifest, put};
    use super::*;
    use accounts::Visible;

    fn error(path: &Path) -> StoreError {
        Metadata::open(path).err().expect("it must be refused")
    }

    #[test]
    fn versions_count_from_one_without_gaps() {
        let versions = MIGRATIONS.iter().map(|migration| migration.version);
        assert!(versions.eq(1..=u32::try_from(MIGRATIONS.len()).unwrap()));
    }

    #[tokio::test]
    async fn a_database_is_opened_again_as_it_was() {
        let (metadata, directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        metadata.close().await;
        let mut files: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["metadata.db", "metadata.db.mark"], "the log is written back and gone");
        let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
        assert_eq!(metadata.catalog(&Visible::Everything, None, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let (metadata, directory) = empty();
        metadata.close().await;
        let path = directory.path().join("metadata.db");
        Connection::open(&path)
            .unwrap()
            .execute("INSERT INTO schema_migrations VALUES (1000, 'what is to come', 0)", ())
            .unwrap();
        let message = error(&path).to_string();
        assert!(
            message.contains("newer version (its schema is 1000, this version knows up to 8)"),
            "{message}"
        );
    }

    #[test]
    fn what_is_no_database_of_ours_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("notes.txt");
        let content = "Not a database. ".repeat(300);
        fs::write(&text, &content).unwrap();
        assert!(error(&text).to_string().ends_with("notes.txt is not a database"));
        assert_eq!(fs::read_to_string(&text).unwrap(), content);

        let theirs = directory.path().join("theirs.db");
        Connection::open(&theirs).unwrap().execute("CREATE TABLE addresses (name TEXT)", ()).unwrap();
        assert!(error(&theirs).to_string().ends_with("theirs.db is a database of another program"));

        assert!(matches!(error(&directory.path().join("no/such/directory.db")), StoreError::Directory(_)));
    }
}
