//! Jobs: long work in bounded transactions, with a cursor and progress.
//!
//! The writer is one thread, so a long transaction would block every push. A job changes a bounded number of
//! rows per transaction, and resumes after a restart. Only the process that holds the directory lock runs
//! jobs, so they need no lease.

use accounts::Actor;
use oci::{Digest, RepositoryName, Tag};

use super::collection::is_listed;
use super::rows::outbox::append;
use super::rows::repositories::{self, remove_if_empty, remove_manifests};
use super::rows::tags::deleted_change;
use super::rows::trash;
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{ChangeKind, Deletion, Job, JobStep, Metadata, NewChange, columns};
use crate::StoreError;

const DELETE_REPOSITORY: &str = "delete repository";

/// The number of tags or links that one step deletes, within a few milliseconds.
const ROWS: usize = 512;
/// The number of manifests that one step deletes.
const MANIFESTS: usize = 128;

impl Metadata {
    /// Creates the job that deletes the present tags, manifests and links of a repository;
    /// [`Metadata::delete_step`] runs it. Returns `None` if the repository does not exist.
    pub async fn begin_deletion(&self, repository: &RepositoryName) -> Result<Option<Job>, StoreError> {
        let repository = repository.clone();
        self.free(Durability::Disk, move |sql| {
            let Some(id) = repositories::find(sql, &repository)? else { return Ok(None) };
            check_tags(sql, &repository, id)?;
            let actor = sql.actor().cloned().unwrap_or_default();
            let id = sql.first(
                "INSERT INTO jobs (kind, subject, started_at, account, request_id, address)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (kind, subject) DO UPDATE
                 SET started_at = excluded.started_at, cursor = 0, account = excluded.account,
                     request_id = excluded.request_id, address = excluded.address
                 RETURNING id, started_at",
                params![
                    DELETE_REPOSITORY,
                    repository.as_str(),
                    columns::now(),
                    actor.account,
                    actor.request_id,
                    actor.address.map(|address| address.to_string())
                ],
                |row| Ok((row.get(0)?, columns::time(row, 1)?)),
            )?;
            let job = |(id, started_at)| Job { id, repository: repository.clone(), progress: 0, started_at };
            Ok(id.map(job))
        })
        .await
    }

    /// Returns the unfinished deletions, the oldest first.
    pub async fn deletions(&self) -> Result<Vec<Job>, StoreError> {
        self.read(|sql| {
            sql.all(
                "SELECT id, subject, progress, started_at FROM jobs WHERE kind = ?1 ORDER BY id",
                params![DELETE_REPOSITORY],
                |row| {
                    let (id, repository) = (row.get(0)?, columns::text(row, 1)?);
                    let (progress, started_at) = (columns::count(row, 2)?, columns::time(row, 3)?);
                    Ok(Job { id, repository, progress, started_at })
                },
            )
        })
        .await
    }

    /// Runs the next step of a deletion in one transaction.
    pub async fn delete_step(&self, job: &Job) -> Result<JobStep, StoreError> {
        let job = job.clone();
        self.free(Durability::Disk, move |sql| step(sql, &job)).await
    }
}

/// Refuses the deletion of a repository if a rule refuses that of one of its tags.
fn check_tags(sql: Sql<'_>, repository: &RepositoryName, id: i64) -> Result<(), StoreError> {
    if !sql.tag_rules().is_some_and(|rules| rules.has_tag_rules(repository)) {
        return Ok(());
    }
    let mut refused = Ok(());
    sql.each_while("SELECT name FROM tags WHERE repository = ?1 ORDER BY name", params![id], |row| {
        refused = sql.check_deletion(repository, &columns::text(row, 0)?);
        Ok(refused.is_ok())
    })?;
    refused
}

fn step(sql: Sql<'_>, job: &Job) -> Result<JobStep, StoreError> {
    let begun = sql.first(
        "SELECT started_at, cursor, account, request_id, address FROM jobs WHERE id = ?1",
        params![job.id],
        |row| {
            let actor = Actor {
                account: row.get(2)?,
                request_id: row.get(3)?,
                address: columns::text_or_null(row, 4)?,
                ..Actor::default()
            };
            Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, actor))
        },
    )?;
    // Another request may have finished the same deletion.
    let Some((started_at, cursor, actor)) = begun else { return Ok(JobStep::Done) };
    // Also in a step after a restart. The rules were asked when the deletion began.
    let sql = sql.acting_as(&actor).without_tag_rules();
    let Some(id) = repositories::find(sql, &job.repository)? else { return end(sql, job) };
    let repository = (id, &job.repository);
    let rows = match delete_tags(sql, repository, started_at)? {
        0 => delete_manifests(sql, job, repository, started_at)?,
        tags => tags,
    };
    if rows > 0 {
        return progress(sql, job, rows, cursor);
    }
    if let Some((rows, cursor)) = delete_links(sql, repository, cursor, started_at)? {
        return progress(sql, job, rows, cursor);
    }
    // Content pushed meanwhile stays.
    remove_if_empty(sql, &job.repository, id)?;
    end(sql, job)
}

fn progress(sql: Sql<'_>, job: &Job, rows: usize, cursor: i64) -> Result<JobStep, StoreError> {
    let progress = sql.first(
        "UPDATE jobs SET progress = progress + ?2, cursor = ?3 WHERE id = ?1 RETURNING progress",
        params![job.id, columns::limit_in(rows), cursor],
        |row| columns::count(row, 0),
    )?;
    Ok(JobStep::Continues { progress: progress.unwrap_or(0) })
}

fn end(sql: Sql<'_>, job: &Job) -> Result<JobStep, StoreError> {
    sql.run("DELETE FROM jobs WHERE id = ?1", params![job.id])?;
    Ok(JobStep::Done)
}

/// The id of a repository, with its name.
type Repository<'a> = (i64, &'a RepositoryName);

fn delete_tags(sql: Sql<'_>, (id, name): Repository<'_>, started_at: i64) -> Result<usize, StoreError> {
    trash::keep_first_tags(sql, id, started_at, ROWS, started_at)?;
    let tags: Vec<(Tag, Digest)> = sql.all(
        "SELECT t.name, b.digest FROM tags t JOIN blobs b ON b.id = t.blob
         WHERE t.repository = ?1 AND t.updated_at <= ?2 ORDER BY t.name LIMIT ?3",
        params![id, started_at, columns::limit_in(ROWS)],
        |row| Ok((columns::text(row, 0)?, columns::digest(row, 1)?)),
    )?;
    for (tag, digest) in &tags {
        sql.run("DELETE FROM tags WHERE repository = ?1 AND name = ?2", params![id, tag.as_str()])?;
        append(sql, deleted_change(name, tag, *digest))?;
    }
    Ok(tags.len())
}

fn delete_manifests(
    sql: Sql<'_>,
    job: &Job,
    (id, name): Repository<'_>,
    started_at: i64,
) -> Result<usize, StoreError> {
    let blobs: Vec<i64> = sql.all(
        "SELECT blob FROM manifests WHERE repository = ?1 AND pushed_at <= ?2 ORDER BY blob LIMIT ?3",
        params![id, started_at, columns::limit_in(MANIFESTS)],
        |row| row.get(0),
    )?;
    for blob in &blobs {
        let deletion = Deletion { reason: "its repository was deleted".to_owned(), run: None };
        trash::discard(sql, name, id, *blob, &deletion, Some(job.id), started_at)?;
    }
    remove_manifests(sql, id, blobs.len())?;
    Ok(blobs.len())
}

/// Deletes the next links that no manifest of the repository needs, except those of a push since the start.
/// Returns their number and the next cursor, or `None` at the end.
fn delete_links(
    sql: Sql<'_>,
    (id, name): Repository<'_>,
    after: i64,
    started_at: i64,
) -> Result<Option<(usize, i64)>, StoreError> {
    let blobs: Vec<(i64, Digest)> = sql.all(
        "SELECT l.blob, b.digest FROM blob_links l JOIN blobs b ON b.id = l.blob
         WHERE l.repository = ?1 AND l.blob > ?2 AND l.linked_at <= ?3 ORDER BY l.blob LIMIT ?4",
        params![id, after, started_at, columns::limit_in(ROWS)],
        |row| Ok((row.get(0)?, columns::digest(row, 1)?)),
    )?;
    let Some((last, _)) = blobs.last().copied() else { return Ok(None) };
    let mut rows = 0;
    for (blob, digest) in blobs {
        if !is_listed(sql, id, blob)? {
            trash::keep_link(sql, id, blob, started_at)?;
            sql.run("DELETE FROM blob_links WHERE repository = ?1 AND blob = ?2", params![id, blob])?;
            append(sql, NewChange::of(ChangeKind::BlobUnlinked, name).digest(digest).for_view(true))?;
            rows += 1;
        }
    }
    Ok(Some((rows, last)))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{by_tag, digest, empty, layer, name, open, put, tagged};
    use super::*;
    use accounts::Visible;

    async fn fill(metadata: &Metadata, images: usize) {
        metadata.link_blob(&name("app"), &digest("layer"), 100).await.unwrap();
        for n in 0..images {
            let mut image = tagged("app", &format!("m{n}"), &[&format!("t{n}")]);
            image.parts = vec![layer("layer")];
            put(metadata, image).await;
        }
    }

    #[tokio::test]
    async fn deletion_resumes_after_a_restart() {
        let (metadata, directory) = empty();
        fill(&metadata, 2 * MANIFESTS).await;
        let job = metadata.begin_deletion(&name("app")).await.unwrap().unwrap();
        assert_eq!(metadata.begin_deletion(&name("absent")).await.unwrap(), None);
        for _ in 0..2 {
            assert!(matches!(metadata.delete_step(&job).await.unwrap(), JobStep::Continues { .. }));
        }
        metadata.close().await;

        let metadata = open(&directory);
        let [job] = &metadata.deletions().await.unwrap()[..] else { panic!("one deletion is left") };
        assert_eq!(job.progress, 3 * MANIFESTS as u64, "all tags and a batch of manifests");
        while metadata.delete_step(job).await.unwrap() != JobStep::Done {}
        assert!(metadata.deletions().await.unwrap().is_empty());
        assert!(!metadata.repository_exists(&name("app")).await.unwrap());
        assert!(metadata.is_empty().await.unwrap());
    }

    #[tokio::test]
    async fn deletion_keeps_what_is_pushed_meanwhile() {
        let (metadata, _directory) = empty();
        fill(&metadata, 3).await;
        let job = metadata.begin_deletion(&name("app")).await.unwrap().unwrap();
        metadata.delete_step(&job).await.unwrap();
        // Times have milliseconds.
        let next = job.started_at + std::time::Duration::from_millis(1);
        while std::time::SystemTime::now() < next {
            tokio::task::yield_now().await;
        }
        let mut image = tagged("app", "new", &["new"]);
        image.parts = vec![layer("layer")];
        put(&metadata, image).await;
        // Its manifest follows.
        metadata.link_blob(&name("app"), &digest("uploaded"), 100).await.unwrap();
        while metadata.delete_step(&job).await.unwrap() != JobStep::Done {}
        assert_eq!(metadata.blob(&name("app"), &digest("uploaded")).await.unwrap(), Some(100));
        assert_eq!(metadata.manifests(&name("app"), None, 10).await.unwrap().len(), 1);
        assert!(metadata.manifest(&name("app"), &by_tag("new")).await.unwrap().is_some());
        assert_eq!(metadata.blob(&name("app"), &digest("layer")).await.unwrap(), Some(100));
        assert_eq!(metadata.catalog(&Visible::Everything, None, 10).await.unwrap(), [name("app")]);
        assert_eq!(metadata.search(&Visible::Everything, "app", 0, 10).await.unwrap().total, 1);
    }
}
