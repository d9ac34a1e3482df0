//! The outbox: the changes of each transaction, for consumers with a cursor of their own.
//!
//! An operation appends its changes in its own transaction, so that none is lost and none is announced that
//! did not happen. A consumer registers once, reads the changes after its cursor, and acknowledges them when
//! its own work is durable. It may see a change twice after a crash. A change is deleted once every
//! registered consumer has acknowledged it; a consumer that is not registered holds nothing back.
//!
//! Two kinds of consumers differ in when they run:
//!
//! - A listener ([`Metadata::on_commit`]) runs on the writer thread after the commit and before its
//!   operations are answered. So a cache is invalidated before the client hears of the change. It must not
//!   block.
//! - A task waits on [`Changes::watch`] and reads with [`Changes::since`].

use std::net::IpAddr;
use std::time::SystemTime;

use accounts::Actor;
use oci::{Digest, RepositoryName, Tag};
use serde_json::Value as Json;
use tokio::sync::watch;

use super::rows::outbox;
use super::sql::{Row, Sql, Value, params};
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

/// The consumer that keeps changes for the stream of events.
pub const EVENTS: &str = "events";
/// The number of changes deleted in one transaction: a bound on the wait of other operations.
const DELETE_BATCH: usize = 256;

accounts::string_enum! {
    /// The kind of a change.
    pub enum ChangeKind: "kind of change" {
        /// A manifest was pushed, new or again. The detail has `mediaType`, `size` and the pushed `tags`.
        ManifestPut = "manifest.put",
        /// A deleted manifest was restored.
        ManifestRestored = "manifest.restored",
        /// A manifest was deleted from a repository.
        ManifestDeleted = "manifest.deleted",
        /// A tag was created (without `previous`) or moved to another manifest.
        TagMoved = "tag.moved",
        /// A tag was deleted. `previous` is the manifest that it had.
        TagDeleted = "tag.deleted",
        /// A config or layer was added to a repository.
        BlobLinked = "blob.linked",
        /// A config or layer was removed from a repository.
        BlobUnlinked = "blob.unlinked",
        /// A repository lost its last content, or was deleted.
        RepositoryDeleted = "repository.deleted",
        /// Stored content was found not to have its digest.
        ContentDamaged = "content.damaged",
        /// Damaged content was stored again.
        ContentRepaired = "content.repaired",
        /// An idle upload was removed.
        UploadExpired = "upload.expired",
        /// A manifest was pulled.
        Pull = "pull",
        /// A push brought a quota to 80 %.
        QuotaWarning = "quota.warning",
        /// A retention run ended.
        RetentionRun = "retention.run",
        /// A garbage collection ended.
        GcRun = "gc.run",
        /// A check found missing or damaged content.
        CheckFinding = "check.finding",
        /// An upstream became unreachable, or reachable again.
        UpstreamState = "upstream.state",
        /// Wrong credentials were sent.
        SignInFailed = "sign-in.failed",
    }
}

impl ChangeKind {
    /// Whether the change concerns the content of a repository, and is not only an event.
    #[must_use]
    pub const fn is_content(self) -> bool {
        matches!(
            self,
            Self::ManifestPut
                | Self::ManifestRestored
                | Self::ManifestDeleted
                | Self::TagMoved
                | Self::TagDeleted
                | Self::BlobLinked
                | Self::BlobUnlinked
                | Self::RepositoryDeleted
        )
    }
}

/// A change, as it is in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Ascends in the order of the commits. Never reused.
    pub id: i64,
    /// The time of the change.
    pub at: SystemTime,
    /// The kind.
    pub kind: ChangeKind,
    /// The repository, if the change concerns one.
    pub repository: Option<RepositoryName>,
    /// The tag that was moved or deleted.
    pub tag: Option<Tag>,
    /// The manifest or blob, or the manifest of a tag now.
    pub digest: Option<Digest>,
    /// The manifest of a tag before.
    pub previous: Option<Digest>,
    /// The account of the actor.
    pub account: Option<String>,
    /// The request of the actor.
    pub request_id: Option<String>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// More about the change: a JSON object.
    pub detail: Option<Json>,
}

/// A change to append. The transaction adds number, time and actor.
#[derive(Clone, Debug)]
pub struct NewChange {
    pub(super) kind: ChangeKind,
    pub(super) repository: Option<RepositoryName>,
    pub(super) tag: Option<Tag>,
    pub(super) digest: Option<Digest>,
    pub(super) previous: Option<Digest>,
    pub(super) detail: Option<Json>,
    pub(super) actor: Option<Actor>,
    pub(super) for_view: bool,
}

impl NewChange {
    /// A change without an object.
    #[must_use]
    pub fn new(kind: ChangeKind) -> Self {
        let (repository, tag, digest, previous) = (None, None, None, None);
        Self { kind, repository, tag, digest, previous, detail: None, actor: None, for_view: false }
    }

    /// A change of a repository.
    #[must_use]
    pub fn of(kind: ChangeKind, repository: &RepositoryName) -> Self {
        Self { repository: Some(repository.clone()), ..Self::new(kind) }
    }

    /// The tag.
    #[must_use]
    pub fn tag(self, tag: &Tag) -> Self {
        Self { tag: Some(tag.clone()), ..self }
    }

    /// The manifest or blob.
    #[must_use]
    pub fn digest(self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self }
    }

    /// The manifest of a tag before.
    #[must_use]
    pub fn previous(self, previous: Option<Digest>) -> Self {
        Self { previous, ..self }
    }

    /// More about the change: a JSON object.
    #[must_use]
    pub fn detail(self, detail: Json) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// The actor, if it is another one than that of the transaction.
    #[must_use]
    pub fn by(self, actor: Actor) -> Self {
        Self { actor: Some(actor), ..self }
    }

    /// Whether the `repositories/` view has to write the item.
    pub(super) fn for_view(self, for_view: bool) -> Self {
        Self { for_view, ..self }
    }
}

/// The outbox of a database.
#[derive(Clone, Copy)]
pub struct Changes<'a>(&'a Metadata);

impl Metadata {
    /// The outbox.
    #[must_use]
    pub fn changes(&self) -> Changes<'_> {
        Changes(self)
    }
}

impl Changes<'_> {
    /// Registers a consumer. It gets the changes after this call, or after its cursor if it is registered
    /// already. Returns the cursor.
    pub async fn register(&self, consumer: &str) -> Result<i64, StoreError> {
        let consumer = consumer.to_owned();
        let cursor = self.0.write(Durability::Disk, move |sql| {
            if let Some(cursor) = outbox::cursor(sql, &consumer)? {
                return Ok(cursor);
            }
            let cursor = newest(sql)?;
            sql.run(
                "INSERT INTO change_consumers (name, cursor) VALUES (?1, ?2)",
                params![consumer, cursor],
            )?;
            Ok(cursor)
        });
        cursor.await
    }

    /// Removes a consumer, which then holds no changes back.
    pub async fn unregister(&self, consumer: &str) -> Result<(), StoreError> {
        let consumer = consumer.to_owned();
        let removed = self.0.write(Durability::Disk, move |sql| {
            sql.run("DELETE FROM change_consumers WHERE name = ?1", params![consumer])
        });
        if removed.await? > 0 { self.prune().await } else { Ok(()) }
    }

    /// The cursor of a registered consumer.
    pub async fn cursor(&self, consumer: &str) -> Result<Option<i64>, StoreError> {
        let consumer = consumer.to_owned();
        self.0.read(move |sql| outbox::cursor(sql, &consumer)).await
    }

    /// Returns the first changes after a cursor, in their order.
    pub async fn since(&self, cursor: i64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.0.read(move |sql| after(sql, cursor, limit)).await
    }

    /// Acknowledges the changes up to `cursor` for a registered consumer, and deletes those that all
    /// consumers have acknowledged. The transaction is not synced: after a power failure the consumer sees
    /// them again.
    pub async fn acknowledge(&self, consumer: &str, cursor: i64) -> Result<(), StoreError> {
        let consumer = consumer.to_owned();
        self.0.free(Durability::Process, move |sql| outbox::acknowledge(sql, &consumer, cursor)).await?;
        self.prune().await
    }

    /// Deletes the changes that all consumers have acknowledged.
    pub(super) async fn prune(&self) -> Result<(), StoreError> {
        loop {
            let deleted = self.0.free(Durability::Process, |sql| {
                sql.run(
                    "DELETE FROM changes WHERE id IN (
                         SELECT id FROM changes WHERE id <= (SELECT MIN(cursor) FROM change_consumers)
                         ORDER BY id LIMIT ?1)",
                    params![columns::limit_in(DELETE_BATCH)],
                )
            });
            if deleted.await? < DELETE_BATCH {
                return Ok(());
            }
        }
    }

    /// Appends changes that no operation of the metadata makes, such as the end of a run, in one transaction.
    /// Runs that free space end with it, so it may use the ballast.
    pub async fn append(&self, changes: Vec<NewChange>) -> Result<(), StoreError> {
        self.0
            .free(Durability::Disk, move |sql| {
                changes.iter().try_for_each(|change| outbox::append(sql, change.clone()))
            })
            .await
    }

    /// The number of the newest change, which is updated after each commit.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.0.inner.listeners.watch()
    }

    /// The number of the newest change.
    #[must_use]
    pub fn newest(&self) -> i64 {
        *self.watch().borrow()
    }
}

/// The first changes after a cursor, in their order.
pub(super) fn after(sql: Sql<'_>, cursor: i64, limit: usize) -> Result<Vec<Change>, StoreError> {
    sql.all(
        "SELECT id, at, kind, repository, tag, digest, previous, account, request_id, address, detail
         FROM changes WHERE id > ?1 ORDER BY id LIMIT ?2",
        params![cursor, columns::limit_in(limit)],
        change,
    )
}

/// The number of the newest change, also if it is deleted.
pub(super) fn newest(sql: Sql<'_>) -> Result<i64, StoreError> {
    let newest = sql.first(
        "SELECT COALESCE((SELECT MAX(id) FROM changes), (SELECT MAX(cursor) FROM change_consumers), 0)",
        &[],
        |row| row.get(0),
    );
    Ok(newest?.unwrap_or(0))
}

fn change(row: &Row<'_>) -> Result<Change, StoreError> {
    let digest = |index| match row.value(index)? {
        Value::Null => Ok(None),
        _ => columns::digest(row, index).map(Some),
    };
    Ok(Change {
        id: row.get(0)?,
        at: columns::time(row, 1)?,
        kind: columns::text(row, 2)?,
        repository: columns::text_or_null(row, 3)?,
        tag: columns::text_or_null(row, 4)?,
        digest: digest(5)?,
        previous: digest(6)?,
        account: row.get(7)?,
        request_id: row.get(8)?,
        address: columns::text_or_null(row, 9)?,
        detail: columns::text_or_null(row, 10)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::fixtures::{by_tag, digest, empty, name, open, put, tag, tagged};
    use super::*;

    /// The kinds of the changes after a cursor, with their tag or digest.
    async fn kinds(metadata: &Metadata, cursor: i64) -> Vec<(ChangeKind, String)> {
        let item = |change: Change| match (change.tag, change.digest) {
            (Some(tag), _) => (change.kind, tag.to_string()),
            (None, Some(digest)) => (change.kind, digest.to_string()),
            (None, None) => (change.kind, String::new()),
        };
        metadata.changes().since(cursor, 1_000).await.unwrap().into_iter().map(item).collect()
    }

    #[tokio::test]
    async fn change_has_actor_and_digests() {
        let (metadata, _directory) = empty();
        let actor = Actor {
            account: Some("ann".into()),
            request_id: Some("r1".into()),
            address: Some([10, 0, 0, 1].into()),
            ..Actor::default()
        };
        let ann = metadata.acting_as(actor);
        put(&ann, tagged("app", "one", &["latest"])).await;
        put(&metadata, tagged("app", "two", &["latest"])).await;
        assert!(ann.delete_tag(&name("app"), &tag("latest")).await.unwrap());

        let changes = metadata.changes().since(0, 10).await.unwrap();
        let kinds: Vec<_> = changes.iter().map(|change| change.kind).collect();
        let pushed = [ChangeKind::ManifestPut, ChangeKind::TagMoved];
        assert_eq!(kinds, [&pushed[..], &pushed, &[ChangeKind::TagDeleted]].concat());
        let [created, moved, deleted] = [1, 3, 4].map(|at| &changes[at]);
        assert_eq!((created.digest, created.previous), (Some(digest("one")), None));
        assert_eq!((moved.digest, moved.previous), (Some(digest("two")), Some(digest("one"))));
        assert_eq!((deleted.digest, deleted.previous), (None, Some(digest("two"))));
        assert_eq!((created.account.as_deref(), moved.account.as_deref()), (Some("ann"), None));
        assert_eq!(deleted.request_id.as_deref(), Some("r1"));
        assert_eq!(deleted.address, Some([10, 0, 0, 1].into()));
        let detail = changes[0].detail.as_ref().unwrap();
        assert_eq!(detail["tags"], serde_json::json!(["latest"]));
        assert_eq!(detail["size"], 10);
    }

    #[tokio::test]
    async fn repeated_push_moves_no_tag() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "one", &["latest"])).await;
        let cursor = metadata.changes().newest();
        put(&metadata, tagged("app", "one", &["latest"])).await;
        assert_eq!(kinds(&metadata, cursor).await, [(ChangeKind::ManifestPut, digest("one").to_string())]);
        assert!(metadata.view_changes(cursor, 10).await.unwrap().is_empty(), "the view has nothing to write");
    }

    #[tokio::test]
    async fn change_stays_until_all_consumers_acknowledge() {
        let (metadata, directory) = empty();
        put(&metadata, tagged("app", "one", &["a"])).await;
        let start = metadata.changes().register("gc").await.unwrap();
        assert_eq!(start, 2, "a consumer sees changes after its registration");
        put(&metadata, tagged("app", "two", &["b"])).await;
        metadata.view_written(4, &[], &[], vec![]).await.unwrap();
        assert_eq!(kinds(&metadata, 0).await.len(), 2);
        metadata.changes().acknowledge("gc", 3).await.unwrap();
        assert_eq!(kinds(&metadata, 0).await, [(ChangeKind::TagMoved, "b".to_owned())]);
        // An earlier cursor and an unknown consumer change nothing.
        metadata.changes().acknowledge("gc", 1).await.unwrap();
        metadata.changes().acknowledge("absent", 9).await.unwrap();
        metadata.close().await;

        let metadata = open(&directory);
        assert_eq!(metadata.changes().register("gc").await.unwrap(), 3);
        assert_eq!(metadata.changes().cursor("absent").await.unwrap(), None);
        metadata.changes().unregister("gc").await.unwrap();
        assert!(kinds(&metadata, 0).await.is_empty());
        assert_eq!(metadata.changes().register("late").await.unwrap(), 4, "also if no change is left");
        assert_eq!(metadata.changes().newest(), 4);
    }

    #[tokio::test]
    async fn many_changes_are_deleted_in_batches() {
        let (metadata, _directory) = empty();
        let tags: Vec<String> = (0..3 * DELETE_BATCH).map(|n| format!("t{n}")).collect();
        put(&metadata, tagged("app", "m", &tags.iter().map(String::as_str).collect::<Vec<_>>())).await;
        let newest = metadata.changes().newest();
        metadata.changes().acknowledge("view", newest - 1).await.unwrap();
        assert_eq!(kinds(&metadata, 0).await.len(), 1);
    }

    #[tokio::test]
    async fn listener_runs_before_the_answer() {
        let (metadata, _directory) = empty();
        let heard = Arc::new(Mutex::new(Vec::new()));
        metadata.on_commit({
            let heard = heard.clone();
            move |commit| heard.lock().unwrap().extend(commit.changes.iter().map(|change| change.kind))
        });
        let mut watch = metadata.changes().watch();
        put(&metadata, tagged("app", "one", &["a"])).await;
        assert_eq!(*heard.lock().unwrap(), [ChangeKind::ManifestPut, ChangeKind::TagMoved]);
        assert!(watch.has_changed().unwrap());
        assert_eq!(*watch.borrow_and_update(), 2);
        // A refused operation tells nothing.
        assert!(!metadata.put_tag(&name("app"), &digest("absent"), &tag("b")).await.unwrap());
        assert_eq!(heard.lock().unwrap().len(), 2);
        assert!(metadata.manifest(&name("app"), &by_tag("b")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn event_is_appended_alone() {
        let (metadata, _directory) = empty();
        let run = NewChange::new(ChangeKind::GcRun).detail(serde_json::json!({ "bytes": 7 }));
        metadata.acting_as(Actor::task("gc")).changes().append(vec![run]).await.unwrap();
        let [change] = &metadata.changes().since(0, 9).await.unwrap()[..] else { panic!("one change") };
        assert_eq!((change.kind, change.account.as_deref()), (ChangeKind::GcRun, Some("(gc)")));
        assert_eq!(change.detail.as_ref().unwrap()["bytes"], 7);
    }
}
