//! The version check: notices the changes of other servers that share a database in PostgreSQL.
//!
//! A request waits for a round of the check that began after the request arrived. One `SELECT` serves all
//! requests that wait. If the version is newer than the known one, the round reads the changes of the others,
//! and tells the listeners of the commits, before it answers. So a change counts with the next request on any
//! server, and no notification can be lost.
//!
//! Replicas and their primary use it (`docs/explanation/several-servers.md`). One server alone checks
//! nothing.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::commit::{Commit, Listeners};
use super::connection::copy_error;
use super::postgres::Session;
use super::sql::{Sql, params};
use super::writer::lock;
use super::{DatabaseError, Metadata, changes};
use crate::StoreError;
use crate::database_url::DatabaseUrl;

/// The time for which a request waits.
const ANSWER: Duration = Duration::from_secs(2);
/// The number of changes above which everything counts as changed.
const MOST: usize = 1000;

const VERSIONS: &str = "SELECT version, accounts, webhooks, pruned FROM writer";

/// The state of the database that the caches of this process have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    version: i64,
    accounts: i64,
    webhooks: i64,
    /// The newest change.
    cursor: i64,
}

/// The known state, which the writer and the check advance.
pub(super) type SharedKnown = Arc<Mutex<Known>>;

/// Notes an own commit with this version, whose changes the listeners have heard. The next round does not
/// read them again if no other server has committed before.
pub(super) fn committed(known: &SharedKnown, version: i64, last_change: Option<i64>) {
    let mut known = lock(known);
    if known.version + 1 == version {
        known.version = version;
        known.cursor = last_change.unwrap_or(known.cursor);
    }
}

type Round = oneshot::Sender<Result<(), StoreError>>;

/// The sender of requests for a round, and the thread that runs them.
pub(super) struct VersionCheck {
    /// `None` after [`VersionCheck::close`].
    requests: Mutex<Option<Sender<Round>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl VersionCheck {
    /// Reads the present state, and starts the thread.
    pub(super) fn start(
        url: Arc<DatabaseUrl>,
        known: SharedKnown,
        listeners: Arc<Listeners>,
    ) -> Result<Self, StoreError> {
        let (requests, waiting) = channel();
        let mut thread = Thread { url, known, listeners, session: None };
        thread.round()?;
        let thread = std::thread::Builder::new()
            .name("metadata-versions".into())
            .spawn(move || thread.run(&waiting))
            .map_err(|error| StoreError::io("start", "metadata-versions", error))?;
        Ok(Self { requests: Mutex::new(Some(requests)), thread: Mutex::new(Some(thread)) })
    }

    /// Returns once a round that began after this call has ended.
    async fn check(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        match &*lock(&self.requests) {
            Some(requests) => requests.send(answer).map_err(|_| StoreError::Closed)?,
            None => return Err(StoreError::Closed),
        }
        match tokio::time::timeout(ANSWER, answered).await {
            Ok(checked) => checked.map_err(|_| StoreError::Closed)?,
            Err(_) => {
                let message = format!("PostgreSQL has not told its version for {ANSWER:?}");
                Err(StoreError::Database(DatabaseError::away(message)))
            }
        }
    }

    /// Ends the thread. Blocks.
    pub(super) fn close(&self) {
        lock(&self.requests).take();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the version check panicked");
        }
    }
}

struct Thread {
    url: Arc<DatabaseUrl>,
    known: SharedKnown,
    listeners: Arc<Listeners>,
    session: Option<Session>,
}

impl Thread {
    fn run(mut self, requests: &Receiver<Round>) {
        while let Ok(first) = requests.recv() {
            // All of them arrived before the round.
            let waiting: Vec<_> = std::iter::once(first).chain(requests.try_iter()).collect();
            let checked = self.round();
            for waiting in waiting {
                // The request may be gone.
                let _ = waiting.send(match &checked {
                    Ok(()) => Ok(()),
                    Err(error) => Err(copy_error(error)),
                });
            }
        }
    }

    fn round(&mut self) -> Result<(), StoreError> {
        if let Some(session) = &self.session {
            match self.look(session, false) {
                // PostgreSQL has ended the idle session, as by a restart.
                Err(error) if error.is_away() => self.session = None,
                looked => return looked,
            }
        }
        let mut session = Session::connect(&self.url)?;
        session.limit_statements(ANSWER / 2)?;
        // A failover may have lost commits, which left no trace.
        self.look(&session, true)?;
        self.session = Some(session);
        Ok(())
    }

    /// Compares the versions, and notifies the listeners of changes.
    fn look(&self, session: &Session, is_new: bool) -> Result<(), StoreError> {
        let sql = Sql::server(session);
        if !is_new && versions(sql)?.version == lock(&self.known).version {
            return Ok(());
        }
        session.begin_with_first("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        let read = self.read(sql, is_new);
        session.end_without_wait();
        let (commit, now) = read?;
        self.listeners.notify(&commit);
        let mut known = lock(&self.known);
        // Meanwhile the writer may have committed the next version.
        if commit.is_unknown || known.version < now.version {
            *known = now;
        }
        Ok(())
    }

    /// Reads the changes since the known state, and the present one, of one snapshot.
    fn read(&self, sql: Sql<'_>, is_new: bool) -> Result<(Commit, Known), StoreError> {
        let known = *lock(&self.known);
        let now = versions(sql)?;
        let changes = if is_new { Vec::new() } else { changes::after(sql, known.cursor, MOST + 1)? };
        let is_unknown =
            is_new || now.version < known.version || now.pruned > known.cursor || changes.len() > MOST;
        let cursor = match changes.last() {
            Some(last) if !is_unknown => last.id,
            _ => changes::newest(sql)?.max(now.pruned),
        };
        let commit = Commit {
            changes: if is_unknown { Vec::new() } else { changes },
            is_unknown,
            are_accounts_changed: now.accounts != known.accounts,
            are_webhooks_changed: now.webhooks != known.webhooks,
            ..Commit::default()
        };
        let Versions { version, accounts, webhooks, .. } = now;
        Ok((commit, Known { version, accounts, webhooks, cursor }))
    }
}

struct Versions {
    version: i64,
    accounts: i64,
    webhooks: i64,
    pruned: i64,
}

fn versions(sql: Sql<'_>) -> Result<Versions, StoreError> {
    let read = sql.first(VERSIONS, params![], |row| {
        Ok(Versions {
            version: row.get(0)?,
            accounts: row.get(1)?,
            webhooks: row.get(2)?,
            pruned: row.get(3)?,
        })
    });
    read?.ok_or_else(|| StoreError::Damaged("the database has no version".to_owned()))
}

impl Metadata {
    /// Whether other servers may use the database, so that each request begins with
    /// [`Metadata::check_versions`].
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.versions.is_some()
    }

    /// Waits until the listeners have heard of all changes that other servers committed before this call.
    ///
    /// # Errors
    /// One for which [`StoreError::is_away`] holds if PostgreSQL does not answer within two seconds.
    pub async fn check_versions(&self) -> Result<(), StoreError> {
        match &self.inner.versions {
            Some(versions) => versions.check().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem;

    use tempfile::TempDir;

    use super::super::accounts::fixtures::add_user;
    use super::super::fixtures::postgres::{SERVER, Suspended, psql, with_schema};
    use super::super::fixtures::{by_tag, manifest, name, put, tag, tagged};
    use super::super::writer::Durability;
    use super::super::{ChangeKind, PrimaryWatch, PullCount};
    use super::*;
    use crate::database_url::ServerRole;

    /// A replica `one`, and the primary `other`.
    struct Both {
        one: Metadata,
        other: Metadata,
        /// The commits of which the listeners of the replica have heard since the last look.
        heard: Arc<Mutex<Vec<String>>>,
        text: String,
        _directories: [TempDir; 2],
    }

    impl Both {
        fn open(schema: &str) -> Self {
            let text = with_schema(&SERVER.url(), schema);
            let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
            let open = |role, index: usize| {
                let url = DatabaseUrl::parse(&text).unwrap().with_role(role);
                Metadata::connect(&url, directories[index].path()).unwrap()
            };
            let other = open(ServerRole::Primary, 0);
            let one = open(ServerRole::Replica, 1);
            let heard = hear(&one);
            Self { one, other, heard, text, _directories: directories }
        }

        /// Returns the commits of which a round of the check tells.
        async fn told(&self) -> Vec<String> {
            lock(&self.heard).clear();
            self.one.check_versions().await.unwrap();
            mem::take(&mut *lock(&self.heard))
        }
    }

    /// Collects the commits of which the listeners of a server hear.
    fn hear(metadata: &Metadata) -> Arc<Mutex<Vec<String>>> {
        let heard = Arc::<Mutex<Vec<String>>>::default();
        metadata.on_commit({
            let heard = heard.clone();
            move |commit| {
                let mut heard = lock(&heard);
                heard.extend(commit.changes.iter().map(|change| change.kind.as_str().to_owned()));
                heard.extend(commit.is_unknown.then(|| "unknown".to_owned()));
                heard.extend(commit.are_accounts_changed.then(|| "accounts".to_owned()));
            }
        });
        heard
    }

    #[tokio::test]
    async fn changes_of_another_server_are_told_once() {
        let both = Both::open("versions_changes");
        assert!(both.told().await.is_empty());
        put(&both.other, tagged("app", "one", &["latest"])).await;
        assert!(lock(&both.heard).is_empty(), "nobody has asked");
        assert_eq!(both.told().await, ["manifest.put", "tag.moved"]);
        assert!(both.told().await.is_empty());
        both.other.delete_tag(&name("app"), &tag("latest")).await.unwrap();
        assert_eq!(both.told().await, ["tag.deleted"]);
    }

    #[tokio::test]
    async fn own_changes_are_not_told_again() {
        let both = Both::open("versions_own");
        let heard = hear(&both.other);
        put(&both.other, tagged("app", "one", &["latest"])).await;
        assert_eq!(mem::take(&mut *lock(&heard)), ["manifest.put", "tag.moved"]);
        both.other.check_versions().await.unwrap();
        assert!(lock(&heard).is_empty(), "the writer has told it");
    }

    #[tokio::test]
    async fn replica_writes_pulls_and_nothing_else() {
        let both = Both::open("versions_pulls");
        put(&both.other, tagged("app", "one", &["latest"])).await;
        let refused = both.one.delete_tag(&name("app"), &tag("latest")).await.unwrap_err();
        assert!(matches!(refused, StoreError::Replica), "{refused}");
        both.told().await;
        let record = both.other.manifest(&name("app"), &by_tag("latest")).await.unwrap().unwrap();
        let count = PullCount {
            repository: name("app"),
            tag: Some(tag("latest")),
            digest: record.digest,
            pulls: 3,
            pulled_at: std::time::SystemTime::now(),
        };
        both.one.add_pulls(vec![count]).await.unwrap();
        assert!(both.told().await.is_empty());
        // The primary goes on after a commit of the replica.
        put(&both.other, manifest("app", "two")).await;
        both.other.check_versions().await.unwrap();
        assert_eq!(both.told().await, ["manifest.put"]);
        assert_eq!(psql(&both.text, "SELECT pulls FROM tags"), "3");
    }

    #[tokio::test]
    async fn second_primary_is_refused_until_the_first_ends() {
        let both = Both::open("versions_primary");
        let directory = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::parse(&both.text).unwrap().with_role(ServerRole::Primary);
        let refused = Metadata::connect(&url, directory.path()).err().expect("there is one");
        assert!(matches!(refused, StoreError::HasPrimary(_)), "{refused}");
        both.other.announce_primary("http://one".to_owned(), "secret".to_owned()).await.unwrap();
        let watch = PrimaryWatch::new(url.clone());
        let looked = watch.look().await.unwrap().unwrap();
        assert_eq!((looked.address.as_str(), looked.secret.as_str()), ("http://one", "secret"));
        watch.end_primary(looked.epoch - 1).await.unwrap();
        assert!(watch.look().await.unwrap() == Some(looked), "the session of another epoch goes on");
        both.other.close().await;
        let looked = watch.look().await;
        assert!(looked.unwrap().is_none());
        let second = Metadata::connect(&url, directory.path()).unwrap();
        assert!(!second.is_superseded().await.unwrap());
        second.close().await;
    }

    #[tokio::test]
    async fn replica_notices_another_schema() {
        let both = Both::open("versions_schema");
        let url = DatabaseUrl::parse(&both.text).unwrap().with_role(ServerRole::Replica);
        let watch = PrimaryWatch::new(url.clone());
        let looked = watch.look().await;
        assert!(looked.unwrap().unwrap().has_own_schema);
        psql(
            &both.text,
            "INSERT INTO schema_migrations (version, name, applied_at) VALUES (1000, 'later', 0)",
        );
        let looked = watch.look().await;
        assert!(!looked.unwrap().unwrap().has_own_schema);
        // It opens, and forwards everything.
        let directory = tempfile::tempdir().unwrap();
        Metadata::connect(&url, directory.path()).unwrap().close().await;
    }

    #[tokio::test]
    async fn replica_of_an_empty_database_is_refused() {
        let url = DatabaseUrl::parse(&with_schema(&SERVER.url(), "versions_empty")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let refused = Metadata::connect(&url.with_role(ServerRole::Replica), directory.path()).err();
        assert!(matches!(refused, Some(StoreError::OtherSchema { found: 0, .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn deleted_changes_count_as_all_changes() {
        let both = Both::open("versions_deleted");
        both.other.changes().register("gc").await.unwrap();
        put(&both.other, manifest("app", "one")).await;
        for consumer in ["gc", "view"] {
            both.other.changes().acknowledge(consumer, both.other.changes().newest()).await.unwrap();
        }
        assert_eq!(psql(&both.text, "SELECT COUNT(*) FROM changes"), "0");
        assert_eq!(both.told().await, ["unknown"]);
        put(&both.other, manifest("app", "two")).await;
        assert_eq!(both.told().await, ["manifest.put"]);
    }

    #[tokio::test]
    async fn many_changes_count_as_all_changes() {
        let both = Both::open("versions_many");
        let tags: Vec<String> = (0..MOST).map(|n| format!("t{n}")).collect();
        put(&both.other, tagged("app", "m", &tags.iter().map(String::as_str).collect::<Vec<_>>())).await;
        assert_eq!(both.told().await, ["unknown"]);
        assert!(both.told().await.is_empty());
    }

    #[tokio::test]
    async fn accounts_have_a_version_of_their_own() {
        let both = Both::open("versions_accounts");
        let ann = add_user(&both.other, "ann").await;
        assert_eq!(both.told().await, ["accounts"]);
        both.other.touch_accounts(vec![(ann, std::time::SystemTime::now())]).await.unwrap();
        assert!(both.told().await.is_empty(), "the time of the last use is in no cache");
        both.other.add_signing_key("key".to_owned(), vec![1]).await.unwrap();
        assert_eq!(both.told().await, ["accounts"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn concurrent_writers_get_ascending_versions() {
        let both = Both::open("versions_writers");
        let writes = (0..40).map(|n| {
            let (replica, primary) = (both.one.clone(), both.other.clone());
            tokio::spawn(async move {
                replica.add_pulls(Vec::new()).await.unwrap();
                put(&primary, manifest(&format!("app{n}"), "m")).await
            })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.unwrap();
        }
        let told = both.told().await;
        assert!(!told.contains(&"unknown".to_owned()), "{told:?}");
        assert!(both.told().await.is_empty());
        assert_eq!(both.one.changes().since(0, 100).await.unwrap().len(), 40);
        let kinds = both.one.changes().since(0, 100).await.unwrap();
        assert!(kinds.iter().all(|change| change.kind == ChangeKind::ManifestPut));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn suspended_postgres_fails_the_check() {
        let both = Both::open("versions_suspended");
        let sessions = format!(
            "SELECT pid FROM pg_stat_activity WHERE query LIKE '{VERSIONS}%' AND application_name = 'wharfinger'"
        );
        both.told().await;
        let all: Vec<_> =
            psql(&both.text, &sessions).lines().map(|pid| Suspended::new(pid.parse().unwrap())).collect();
        assert!(!all.is_empty());
        let failed = both.one.check_versions().await.unwrap_err();
        assert!(failed.is_away(), "{failed}");
        put(&both.other, manifest("app", "one")).await;
        drop(all);
        let begun = std::time::Instant::now();
        while let Err(error) = both.one.check_versions().await {
            assert!(error.is_away() && begun.elapsed() < Duration::from_secs(60), "{error}");
        }
        assert!(lock(&both.heard).contains(&"unknown".to_owned()), "of a new session");
    }

    #[tokio::test]
    async fn one_server_checks_nothing() {
        let text = with_schema(&SERVER.url(), "versions_single");
        let directory = tempfile::tempdir().unwrap();
        let metadata = Metadata::connect(&DatabaseUrl::parse(&text).unwrap(), directory.path()).unwrap();
        assert!(!metadata.is_shared());
        let before = psql(&text, "SELECT version FROM writer");
        metadata.write(Durability::Disk, |_| Ok(())).await.unwrap();
        metadata.check_versions().await.unwrap();
        assert_ne!(psql(&text, "SELECT version FROM writer"), before, "other servers could notice it");
    }
}
