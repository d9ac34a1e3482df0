//! Schema migrations: the tables of the database, and how a database of an older version gets them.
//!
//! Each migration is a file below `migrations/sqlite`, and from version 24 on a second one below
//! `migrations/postgres`, where `0023_base.sql` has everything before. A released migration is never changed;
//! changes go into a new one. A migration of SQLite may not lower the sum of `sqlite_sequence` (see
//! [`commit_mark`](super::commit_mark)): one that drops a table with AUTOINCREMENT has to carry its counter
//! over to another table.

use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::columns::now;
use super::connection::{Connection, unreadable};
use super::postgres::Session;
use super::sql::{Sql, params};
use crate::{StoreError, durable};

/// The step from one version of the schema to the next.
struct Migration {
    /// Counts from 1, without gaps.
    version: u32,
    name: &'static str,
    sqlite: &'static str,
    /// `None` for the versions before the first one for PostgreSQL.
    postgres: Option<&'static str>,
}

/// A migration with the version, the name and the file of `migrations/sqlite`. `both`: PostgreSQL has a file
/// of the same name in `migrations/postgres`.
macro_rules! migration {
    ($version:literal, $name:literal, $file:literal) => {
        Migration {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $file)),
            postgres: None,
        }
    };
    ($version:literal, $name:literal, $file:literal, both) => {
        Migration {
            postgres: Some(include_str!(concat!("../../migrations/postgres/", $file))),
            ..migration!($version, $name, $file)
        }
    };
}

const MIGRATIONS: &[Migration] = &[
    migration!(1, "repositories, manifests, tags, uploads, search", "0001_repositories.sql"),
    migration!(2, "accounts, organisations, grants, tokens, audit", "0002_accounts.sql"),
    migration!(3, "unsettled content", "0003_journal.sql"),
    migration!(4, "ids of uploads", "0004_upload_secret.sql"),
    migration!(5, "jobs", "0005_jobs.sql"),
    migration!(6, "identity of the database", "0006_identity.sql"),
    migration!(7, "state of the repositories view", "0007_view_state.sql"),
    migration!(8, "damaged blobs", "0008_damaged_blobs.sql"),
    migration!(9, "trash", "0009_trash.sql"),
    migration!(10, "pull counts", "0010_pulls.sql"),
    migration!(11, "outbox of changes", "0011_changes.sql"),
    migration!(12, "progress of the content check", "0012_content_check.sql"),
    migration!(13, "repositories by last push", "0013_browse.sql"),
    migration!(14, "quotas, history of tags, retention rules", "0014_rules.sql"),
    migration!(15, "garbage collection", "0015_collection.sql"),
    migration!(16, "tags of upstreams", "0016_upstream_tags.sql"),
    migration!(17, "webhooks", "0017_webhooks.sql"),
    migration!(18, "state of uploads to an object store", "0018_upload_backend.sql"),
    migration!(19, "repositories by size and pulls", "0019_sort.sql"),
    migration!(20, "manifests of upstreams", "0020_fetched_manifests.sql"),
    migration!(21, "details of jobs", "0021_job_detail.sql"),
    migration!(22, "directories of tags", "0022_tags_directories.sql"),
    migration!(23, "erasures", "0023_erasures.sql"),
    migration!(24, "counted space, lists in an order, names in any case", "0024_space.sql", both),
    migration!(25, "versions for several servers", "0025_versions.sql", both),
    migration!(26, "sizes of repositories with cached layers", "0026_cached_sizes.sql", both),
    migration!(27, "the primary of several servers", "0027_primary.sql", both),
    migration!(28, "changes by repository", "0028_changes_of_repository.sql", both),
    migration!(29, "media types of webhooks", "0029_webhook_media_types.sql", both),
    migration!(30, "restorations of the database", "0030_restoration.sql", both),
    migration!(31, "indexes and statistics for deletions", "0031_deletions.sql", both),
    migration!(32, "deleted manifests of upstreams", "0032_deleted_fetched.sql", both),
];

/// The first schema for PostgreSQL, and its version.
const POSTGRES_BASE: &str = include_str!("../../migrations/postgres/0023_base.sql");
const POSTGRES_BASE_VERSION: u32 = 23;

/// The version of the schema that this program writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Marks a SQLite file as ours ("Whrf"), so that another program's database is not taken for one.
const APPLICATION_ID: i64 = 0x5768_7266;

/// Brings the database at `path`, which `connection` has opened, to the newest version. First copies a
/// database of an older version.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let id = connection.sql().first("PRAGMA application_id", &[], |row| row.get::<i64>(0));
    let id = id.map_err(|error| unreadable(error, path))?;
    let is_new = !connection.sql().exists("SELECT 1 FROM sqlite_schema LIMIT 1", &[])?;
    if id != Some(APPLICATION_ID) && !is_new {
        return Err(StoreError::Directory(format!("{} is a database of another program", path.display())));
    }
    let current = if is_new { 0 } else { version(connection)? };
    let newest = SCHEMA_VERSION;
    if current > newest {
        let copies = (newest + 1..=current).map(|later| copy_name(path, later));
        let help = match copies.into_iter().find(|copy| copy.exists()) {
            Some(copy) => format!(
                "; or go back to {}, the database before the upgrade: put it in the place of this file, and start once \
                 with --accept-older-database",
                copy.display()
            ),
            None => String::new(),
        };
        return Err(StoreError::Directory(format!(
            "{} was written by a newer version (its schema is {current}, this version knows up to {newest}); \
             use that version, or a newer one{help}",
            path.display()
        )));
    }
    if current == newest {
        return Ok(());
    }
    if !is_new {
        let copy = copy_before(connection, path, newest)?;
        tracing::info!(
            database = %path.display(),
            copy = %copy.display(),
            from = current,
            to = newest,
            "upgrading the database; the copy is the database before the upgrade"
        );
    }
    // An error drops the connection, and with it the transaction.
    connection.script("BEGIN IMMEDIATE")?;
    if is_new {
        connection.script(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
    }
    apply(connection, current)?;
    connection.script("COMMIT")
}

/// The version of the schema of a database that is not new.
fn version(connection: &Connection) -> Result<u32, StoreError> {
    let version = "SELECT version FROM schema_migrations ORDER BY version DESC LIMIT 1";
    Ok(connection.sql().first(version, &[], |row| row.get(0))?.unwrap_or(0))
}

/// Applies the migrations after version `current`.
fn apply(connection: &Connection, current: u32) -> Result<(), StoreError> {
    connection.script(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
            version    INTEGER PRIMARY KEY,
            name       TEXT NOT NULL,
            applied_at INTEGER NOT NULL
        )",
    )?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > current) {
        connection.script(migration.sqlite)?;
        record(connection.sql(), migration)?;
    }
    Ok(())
}

/// Brings the schema of a database in PostgreSQL to the newest version, in one transaction. The caller has
/// the right to write, so that no other server migrates at the same time.
pub(super) fn migrate_server(session: &Session) -> Result<(), StoreError> {
    session.begin_long("BEGIN")?;
    let sql = Sql::server(session);
    let current = if session.has_table("schema_migrations")? {
        sql.first("SELECT MAX(version) FROM schema_migrations", &[], |row| row.get::<Option<u32>>(0))?
            .flatten()
    } else {
        session.script(
            "CREATE TABLE schema_migrations (
                version    BIGINT PRIMARY KEY,
                name       TEXT NOT NULL,
                applied_at BIGINT NOT NULL
            )",
        )?;
        None
    };
    if current.is_some() && !session.has_table("identity")? {
        return Err(StoreError::Directory("it is a database of another program".to_owned()));
    }
    let current = current.unwrap_or(0);
    if current > SCHEMA_VERSION {
        return Err(StoreError::Directory(format!(
            "it was written by a newer version (its schema is {current}, this version knows up to {SCHEMA_VERSION}); \
             use that version, or a newer one"
        )));
    }
    let base = Migration {
        version: POSTGRES_BASE_VERSION,
        name: "the schema of version 23",
        sqlite: "",
        postgres: Some(POSTGRES_BASE),
    };
    let later = MIGRATIONS.iter().filter(|migration| migration.version > POSTGRES_BASE_VERSION);
    for migration in std::iter::once(&base).chain(later).filter(|migration| migration.version > current) {
        let text = migration.postgres.ok_or_else(|| {
            StoreError::Damaged(format!("the migration to version {} lacks PostgreSQL", migration.version))
        })?;
        session.script(text)?;
        record(sql, migration)?;
    }
    session.commit()
}

/// The first schema that names a primary.
const PRIMARY_VERSION: u32 = 27;

/// Returns the version of the schema of a database in PostgreSQL, which may be another one than that of this
/// program.
///
/// # Errors
/// [`StoreError::OtherSchema`] if it names no primary.
pub(super) fn server_version(session: &Session) -> Result<u32, StoreError> {
    let has_tables = session.has_table("schema_migrations")? && session.has_table("writer")?;
    let version = match has_tables {
        true => Sql::server(session)
            .first("SELECT MAX(version) FROM schema_migrations", &[], |row| row.get::<Option<u32>>(0))?
            .flatten(),
        false => None,
    };
    match version {
        Some(version) if version >= PRIMARY_VERSION => Ok(version),
        version => Err(StoreError::OtherSchema { found: version.unwrap_or(0), own: SCHEMA_VERSION }),
    }
}

/// Records an applied migration.
fn record(sql: Sql<'_>, migration: &Migration) -> Result<(), StoreError> {
    sql.run(
        "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?1, ?2, ?3)",
        params![migration.version, migration.name, now()],
    )?;
    Ok(())
}

/// The copy of the database at `path` before its schema became `newest`.
fn copy_name(path: &Path, newest: u32) -> PathBuf {
    durable::beside(path, &format!(".before-{newest}"))
}

/// Copies the database at `path` to a file beside it, before its schema becomes `newest`. The copy gets its
/// name after it is synced.
fn copy_before(connection: &Connection, path: &Path, newest: u32) -> Result<PathBuf, StoreError> {
    let copy = copy_name(path, newest);
    let partial = durable::beside(path, ".before.partial");
    durable::remove(&partial)?;
    let create = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
    let file = create.map_err(|error| StoreError::io("create", &partial, error))?;
    connection.sql().run("VACUUM INTO CAST(?1 AS TEXT)", params![partial.as_os_str().as_bytes()])?;
    file.sync_all().map_err(|error| StoreError::io("sync", &partial, error))?;
    fs::rename(&partial, &copy).map_err(|error| StoreError::io("rename", &partial, error))?;
    durable::sync(path.parent().unwrap_or(Path::new(".")))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::SystemTime;

    use oci::Algorithm;

    use super::super::commit_mark::SEQUENCE;
    use super::super::fixtures::{by_tag, digest, in_file, layer, manifest, name, put, tag, tagged};
    use super::super::uploads::tests::state;
    use super::super::{
        AuditEntry, AuditFilter, AuditOutcome, Import, Metadata, NewToken, TokenKind, ViewItem,
    };
    use super::*;
    use accounts::{AccountName, Visible};

    fn error(path: &Path) -> StoreError {
        Metadata::open(path).err().expect("it must be refused")
    }

    #[test]
    fn later_migrations_have_both_texts() {
        for migration in MIGRATIONS {
            let is_later = migration.version > POSTGRES_BASE_VERSION;
            assert_eq!(migration.postgres.is_some(), is_later, "{}", migration.name);
        }
    }

    #[test]
    fn versions_count_from_one_without_gaps() {
        let versions = MIGRATIONS.iter().map(|migration| migration.version);
        assert!(versions.eq(1..=u32::try_from(MIGRATIONS.len()).unwrap()));
    }

    /// A digest as it is kept in a column.
    fn hex(content: &str) -> String {
        let hash = digest(content).hash().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("X'01{hash}'")
    }

    /// Rows of every table that the migration to `version` adds or changes.
    fn rows(version: u32) -> String {
        match version {
            1 => format!(
                "INSERT INTO repositories VALUES (1, 'app', '', 1, 1000);
                 INSERT INTO blobs VALUES (1, {image}, 10), (2, {layer}, 100), (3, {signature}, 10);
                 INSERT INTO blob_links VALUES (1, 2);
                 INSERT INTO manifests VALUES (1, 1, '{media_type}', NULL, NULL, 0, 1000);
                 INSERT INTO manifest_parts VALUES (1, 0, 2, 100, 0, 1);
                 INSERT INTO manifests VALUES (1, 3, '{media_type}', 'a/b', '{{\"k\":\"v\"}}', 0, 1000);
                 UPDATE repositories SET manifests = 2;
                 INSERT INTO referrers VALUES (1, {image}, {signature}, 'a/b', 3);
                 INSERT INTO tags VALUES (1, 'latest', 1, 0, 1000);
                 INSERT INTO uploads VALUES
                     ('00000000-0000-0000-0000-000000000001', 'app', 3, 'sha256', X'00', '{boot}', 1000);
                 INSERT INTO view_changes (repository, kind, item) VALUES ('app', 'tag', 'gone'), ('app', 'tag', 'latest');
                 DELETE FROM view_changes WHERE item = 'gone';
                 INSERT INTO search_words VALUES (1, 0, 'app'), (2, 2, 'app');
                 INSERT INTO search_suffixes VALUES (0, 'pp', 1), (0, 'p', 1);
                 INSERT INTO search_postings VALUES (1, 3, 1), (2, 3, 1);",
                image = hex("image"),
                layer = hex("layer"),
                signature = hex("signature"),
                media_type = oci::media_type::OCI_MANIFEST,
                boot = crate::boot::boot_id(),
            ),
            2 => "INSERT INTO accounts (id, name, kind, source, administrator, created_at)
                      VALUES (1, 'ann', 'user', 'own', 0, 1000), (2, 'org', 'organisation', 'own', 0, 1000);
                  INSERT INTO accounts (id, name, kind, owner, source, created_at)
                      VALUES (3, 'ann+ci', 'robot', 1, 'own', 1000);
                  INSERT INTO members VALUES (2, 1, 'owner');
                  INSERT INTO teams VALUES (1, 2, 'developers', 1000);
                  INSERT INTO team_members VALUES (1, 1);
                  INSERT INTO grants VALUES (1, 2, 1, 'app', 'app', 3, 1000);
                  INSERT INTO tokens (account, kind, label, hash, created_at)
                      VALUES (1, 'personal', 'laptop', zeroblob(32), 1000);
                  INSERT INTO signing_keys VALUES ('key', X'00', 1000);
                  INSERT INTO audit (at, account, action, verdict) VALUES (1000, 'ann', 'manifest.push', 'allowed');
                  UPDATE uploads SET account = 'ann';"
                .to_owned(),
            3 => format!(
                "INSERT INTO unsettled_contents (digest, content) VALUES ({}, CAST('image' AS BLOB))",
                hex("image")
            ),
            4 => "UPDATE upload_secret SET secret = zeroblob(32)".to_owned(),
            5 => "INSERT INTO jobs (kind, subject, started_at) VALUES ('delete repository', 'gone', 1000)".to_owned(),
            6 => "UPDATE identity SET id = '00000000000000000000000000000001'".to_owned(),
            7 => "INSERT INTO view_stamps VALUES ('app', X'00');
                  INSERT INTO view_problems VALUES ('app', X'61', 'not a link');"
                .to_owned(),
            8 => format!(
                "INSERT INTO blobs (digest, size, damaged) VALUES ({}, 7, 1);
                 INSERT INTO blob_links SELECT 1, id FROM blobs WHERE damaged = 1;",
                hex("damaged")
            ),
            9 => "INSERT INTO deleted_manifests
                      (repository, blob, media_type, is_index, pushed_at, description, deleted_at, reason)
                      SELECT 'deleted', blob, media_type, 0, 1000, 'it was here', 2000, '' FROM manifests LIMIT 1;
                  INSERT INTO deleted_tags SELECT 'deleted', 'old', blob, 1000, 2000 FROM manifests LIMIT 1;
                  INSERT INTO deleted_links SELECT 'deleted', blob, 2000 FROM blob_links LIMIT 1;"
                .to_owned(),
            10 => "UPDATE tags SET pulls = 7, pulled_at = 2000".to_owned(),
            11 => "INSERT INTO changes (at, kind, repository, tag, for_view)
                       VALUES (1000, 'tag.moved', 'app', 'later', 1);
                   DELETE FROM changes WHERE tag = 'later';
                   INSERT INTO change_consumers VALUES ('other', 2);
                   INSERT INTO view_blocked VALUES ('blocked', 'tag', 'latest');
                   UPDATE jobs SET account = 'ann';"
                .to_owned(),
            12 => "UPDATE content_check SET cursor = 1, bytes = 100, ended_at = 1000".to_owned(),
            // An index only.
            13 => String::new(),
            14 => "INSERT INTO quota_scopes VALUES (1, 'owner team', 5, 1);
                   INSERT INTO quota_members SELECT id, 1 FROM repositories LIMIT 1;
                   INSERT INTO quota_blobs SELECT id, 1, 1 FROM blobs LIMIT 1;
                   UPDATE quota_rules SET rules = 'owner team';
                   INSERT INTO tag_history (repository, tag, at) VALUES ('app', 'latest', 1000);
                   INSERT INTO retention_rules VALUES ('ann', '[]', 1000);"
                .to_owned(),
            15 => format!(
                "UPDATE blob_links SET linked_at = 1000;
                 INSERT INTO leases VALUES ({}, 1000);
                 INSERT INTO gc_candidates SELECT 2, repository, blob, 1000 FROM blob_links;",
                hex("leased")
            ),
            16 => "INSERT INTO upstream_tags VALUES ('docker.io/app', 'latest', NULL, 1000, 1000)".to_owned(),
            17 => "INSERT INTO webhooks (url, secret, events, patterns, format, created_at)
                       VALUES ('https://example.com', 'secret', '[]', '[\"app\"]', 'cloudevents', 1000);
                   INSERT INTO webhook_deliveries (webhook, repository, event, state, created_at)
                       VALUES ('1', 'app', '{}', 'pending', 1000);"
                .to_owned(),
            18 => "UPDATE uploads SET backend = '{}'".to_owned(),
            19 => "UPDATE repositories SET bytes = 1, pulls = 3".to_owned(),
            20 => "UPDATE manifests SET fetched = 1 WHERE artifact_type IS NOT NULL".to_owned(),
            21 => "UPDATE jobs SET detail = '{}'".to_owned(),
            22 => "UPDATE view_stamps SET tags_directory = X'01'".to_owned(),
            23 => format!("INSERT INTO erasures VALUES ('app', {}, 1000, 'ann')", hex("erased")),
            24 => "INSERT INTO space VALUES ('team', 1, 2, 3, 0, 1, 1000)".to_owned(),
            // For PostgreSQL.
            25 => String::new(),
            // It has sizes counted again.
            26 => String::new(),
            // For PostgreSQL.
            27 => String::new(),
            // An index only.
            28 => String::new(),
            29 => "UPDATE webhooks SET media_types = '[\"a/b\"]'".to_owned(),
            30 => "UPDATE identity SET restoration = '0123456789abcdef'".to_owned(),
            // An index, and statistics for the planner.
            31 => String::new(),
            32 => "UPDATE deleted_manifests SET fetched = 1".to_owned(),
            version => panic!("the migration to version {version} has no rows"),
        }
    }

    /// A database as version `newest` of the schema left it, after it had every version before.
    fn database_of(path: &Path, newest: u32) {
        let connection = Connection::writer(path).unwrap();
        connection
            .script(&format!(
                "PRAGMA application_id = {APPLICATION_ID};
                 CREATE TABLE schema_migrations
                     (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL)"
            ))
            .unwrap();
        for Migration { version, name, sqlite, .. } in MIGRATIONS.iter().filter(|step| step.version <= newest)
        {
            connection.script(sqlite).unwrap();
            connection.script(&rows(*version)).unwrap();
            let insert = format!("INSERT INTO schema_migrations VALUES ({version}, '{name}', 0)");
            connection.script(&insert).unwrap();
        }
    }

    async fn everything_works(metadata: &Metadata, from: u32) {
        let (app, new) = (name("app"), name("new"));
        let image = metadata.manifest(&app, &by_tag("latest")).await.unwrap().unwrap();
        assert_eq!((image.digest, image.size), (digest("image"), 10));
        assert_eq!(metadata.manifest_parts(&app, &image.digest).await.unwrap(), [layer("layer")]);
        let (referrers, _) = metadata.referrers(&app, &image.digest, Some("a/b"), None, 9).await.unwrap();
        assert_eq!(referrers.len(), 1);
        assert_eq!(metadata.blob(&app, &digest("layer")).await.unwrap(), Some(100));
        assert_eq!(metadata.search(&Visible::Everything, "pp", 0, 9).await.unwrap().total, 1);
        assert_eq!(metadata.unfinished_uploads().await.unwrap().len(), 1);
        assert_eq!(metadata.upload_secret().await.unwrap().len(), 32);
        assert_eq!(metadata.usage(&Visible::Everything).await.unwrap().repositories, 1);
        while metadata.size_repositories(9).await.unwrap() > 0 {}
        assert_eq!(metadata.counted_owners(None, 9).await.unwrap().len(), usize::from(from >= 24));
        let repository = metadata.repository(&app).await.unwrap().unwrap();
        let usage = metadata.usage_of(&app).await.unwrap().unwrap();
        assert_eq!((repository.bytes, repository.pulls > 0), (usage.bytes, from >= 19));
        assert_eq!(metadata.blob_is_damaged(&app, &digest("damaged")).await.unwrap(), from >= 8);
        let upstream_tag = metadata.upstream_tag(&name("docker.io/app"), &tag("latest")).await.unwrap();
        assert_eq!(upstream_tag.is_some(), from >= 16);
        assert_eq!(metadata.view_stamps().await.unwrap().len(), usize::from(from >= 7));
        let pending = metadata.view_changes(0, 9).await.unwrap();
        assert_eq!(pending.len(), 1);
        assert_eq!((&pending[0].item, pending[0].id), (&ViewItem::Tag(tag("latest")), 2));
        metadata.view_written(2, &[], &[], vec![]).await.unwrap();
        assert!(metadata.view_changes(0, 9).await.unwrap().is_empty());
        for job in metadata.deletions().await.unwrap() {
            metadata.delete_step(&job).await.unwrap();
        }
        if let Some(newest) = metadata.newest_journaled().await.unwrap() {
            assert_eq!(metadata.flushed(newest, &[]).await.unwrap(), 1);
        }

        let restored = metadata.restore_manifest(&name("deleted"), &digest("image")).await.unwrap();
        assert_eq!(restored.map(|restored| restored.tags), (from >= 9).then(|| vec![tag("old")]));
        metadata.delete_repository(&name("deleted")).await.unwrap();
        let written = metadata.changes().newest();
        metadata.view_written(written, &[], &[], vec![]).await.unwrap();

        metadata.link_blob(&new, &digest("config"), 5).await.unwrap();
        assert_eq!(metadata.mount_blob(&new, &digest("layer"), 100, &app).await.unwrap(), Some(100));
        let mut pushed = tagged("new", "pushed", &["1.0"]);
        pushed.parts = vec![layer("layer")];
        put(metadata, pushed).await;
        assert!(metadata.put_tag(&new, &digest("pushed"), &tag("2.0")).await.unwrap());
        assert!(metadata.delete_tag(&new, &tag("1.0")).await.unwrap());
        assert!(metadata.set_description(&new, "moved here".into()).await.unwrap());
        assert_eq!(metadata.search(&Visible::Everything, "moved", 0, 9).await.unwrap().total, 1);
        metadata.create_upload(&new, None, &state(1)).await.unwrap();
        let import = Import::Blob {
            repository: new.clone(),
            digest: digest("imported"),
            size: 1,
            at: SystemTime::UNIX_EPOCH,
        };
        assert_eq!(metadata.import(vec![import], false).await.unwrap(), [true]);
        assert_eq!(metadata.view_changes(0, 9).await.unwrap().len(), 6);
        assert!(metadata.unlink_blob(&new, &digest("config")).await.unwrap());
        assert!(metadata.delete_manifest(&app, &digest("signature")).await.unwrap());
        assert!(metadata.delete_repository(&app).await.unwrap());
        assert!(!metadata.repository_exists(&app).await.unwrap());
        accounts_work(metadata, from).await;
    }

    async fn accounts_work(metadata: &Metadata, from: u32) {
        let ann: AccountName = "ann".parse().unwrap();
        if from >= 2 {
            let account = metadata.account(&ann).await.unwrap().unwrap();
            let rights = metadata.rights_of(Some(account.id), &name("app")).await.unwrap();
            assert_eq!(rights.bits(), 3);
            assert_eq!(metadata.organisations_of(account.id, None, 9).await.unwrap().len(), 1);
            assert_eq!(metadata.robots(Some(&ann), None, 9).await.unwrap().len(), 1);
            assert!(metadata.token_by_hash(&[0; 32]).await.unwrap().is_some());
            assert_eq!(metadata.signing_keys().await.unwrap().len(), 1);
            assert_eq!(metadata.audit(AuditFilter::default(), 9).await.unwrap().len(), 1);
        }
        let ben = super::super::accounts::fixtures::add_user(metadata, "ben").await;
        let token = NewToken {
            account: ben,
            kind: TokenKind::Personal,
            label: "ci".into(),
            hash: Algorithm::Sha256.digest(b"token").hash().try_into().unwrap(),
            rights: None,
            patterns: None,
            expires_at: None,
        };
        assert!(metadata.add_token(token, None).await.unwrap().is_some());
        metadata.add_signing_key("other".into(), vec![1]).await.unwrap();
        let entry = AuditEntry {
            at: SystemTime::now(),
            account: Some("ben".into()),
            address: None,
            action: "token.add".into(),
            object: None,
            verdict: AuditOutcome::Allowed,
            status: Some(201),
            request_id: None,
            detail: None,
        };
        metadata.append_audit(vec![entry]).await.unwrap();
    }

    #[tokio::test]
    async fn database_of_every_version_is_upgraded() {
        let fresh = sequence_and_tables(&in_file().1.path().join("metadata.db")).1;
        for from in 1..=u32::try_from(MIGRATIONS.len()).unwrap() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("metadata.db");
            database_of(&path, from);
            let (before, _) = sequence_and_tables(&path);
            let metadata = Metadata::open(&path).unwrap();
            let (after, tables) = sequence_and_tables(&path);
            assert!(after >= before, "the commit mark refuses a database with a lower sequence");
            assert_eq!(tables, fresh, "from version {from}");
            everything_works(&metadata, from).await;
            metadata.close().await;
            Metadata::open(&path).unwrap().close().await;
        }
    }

    /// The sequence that the commit mark holds, and the statements of all tables and indexes.
    fn sequence_and_tables(path: &Path) -> (i64, Vec<String>) {
        let connection = Connection::reader(path).unwrap();
        let sequence = connection.sql().first(SEQUENCE, &[], |row| row.get(0)).unwrap().unwrap();
        let tables = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name <> 'schema_migrations' ORDER BY name";
        (sequence, connection.sql().all(tables, &[], |row| row.get(0)).unwrap())
    }

    #[tokio::test]
    async fn upgrade_keeps_a_copy_of_the_old_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metadata.db");
        let newest = u32::try_from(MIGRATIONS.len()).unwrap();
        database_of(&path, newest - 1);
        fs::write(directory.path().join("metadata.db.before.partial"), "an upgrade that was killed").unwrap();
        Metadata::open(&path).unwrap().close().await;
        let copy = directory.path().join(format!("metadata.db.before-{newest}"));
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!directory.path().join("metadata.db.before.partial").exists());
        assert_eq!(version(&Connection::reader(&copy).unwrap()).unwrap(), newest - 1);
        fs::remove_file(&copy).unwrap();
        Metadata::open(&path).unwrap().close().await;
        assert!(!copy.exists(), "nothing was upgraded");
        let (metadata, new) = in_file();
        put(&metadata, manifest("app", "m")).await;
        metadata.close().await;
        assert_eq!(fs::read_dir(new.path()).unwrap().count(), 2, "a new database has no copy");
    }

    #[tokio::test]
    async fn database_reopens_unchanged() {
        let (metadata, directory) = in_file();
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
    async fn database_of_a_newer_version_is_refused() {
        let (metadata, directory) = in_file();
        metadata.close().await;
        let path = directory.path().join("metadata.db");
        let newer = "INSERT INTO schema_migrations VALUES (1000, 'from the future', 0)";
        Connection::writer(&path).unwrap().script(newer).unwrap();
        let message = error(&path).to_string();
        assert!(
            message.contains(&format!(
                "newer version (its schema is 1000, this version knows up to {SCHEMA_VERSION})"
            )),
            "{message}"
        );
        assert!(!message.contains("go back"), "{message}");
        fs::write(directory.path().join("metadata.db.before-900"), "").unwrap();
        let message = error(&path).to_string();
        assert!(message.contains("go back to") && message.contains("metadata.db.before-900"), "{message}");
    }

    #[test]
    fn foreign_file_is_refused_and_not_changed() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("acknowledged_items.txt");
        let content = "Not a database. ".repeat(300);
        fs::write(&text, &content).unwrap();
        assert!(error(&text).to_string().ends_with("acknowledged_items.txt is not a database"));
        assert_eq!(fs::read_to_string(&text).unwrap(), content);

        let theirs = directory.path().join("theirs.db");
        Connection::writer(&theirs).unwrap().script("CREATE TABLE addresses (name TEXT)").unwrap();
        assert!(error(&theirs).to_string().ends_with("theirs.db is a database of another program"));

        assert!(matches!(error(&directory.path().join("no/such/directory.db")), StoreError::Directory(_)));
    }
}
