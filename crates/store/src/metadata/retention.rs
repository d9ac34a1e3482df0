//! Retention: deletes the tags of a repository that the rules name, and the manifests that only these tags
//! kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use accounts::Actor;
use oci::{Digest, RepositoryName, Tag};

use super::accounts::audit;
use super::rows::repositories::{find, remove_if_empty, remove_manifests};
use super::rows::{tags, trash};
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{AuditEntry, AuditOutcome, Deletion, Metadata, columns};
use crate::StoreError;

/// The number of tags that one transaction deletes.
const BATCH: usize = 500;

/// A tag, as the rules look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagState {
    /// The tag.
    pub tag: Tag,
    /// Its manifest.
    pub digest: Digest,
    /// The time of the last push to the tag.
    pub pushed_at: SystemTime,
    /// The time of the last pull by the tag, or of its manifest by digest.
    pub pulled_at: Option<SystemTime>,
}

/// Decides which tags of a repository to delete, with the reasons.
pub type Decide = Arc<dyn Fn(&[TagState]) -> Vec<(Tag, String)> + Send + Sync>;

/// A deletion by a retention rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionDeletion {
    /// The deleted tag.
    pub tag: Tag,
    /// Its manifest.
    pub digest: Digest,
    /// The rule.
    pub reason: String,
    /// Whether its manifest went to the trash, because nothing else keeps it.
    pub with_manifest: bool,
}

/// The result of one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionStep {
    /// The deletions.
    pub deleted: Vec<RetentionDeletion>,
    /// Their entries in the audit log, which the transaction has written.
    pub audited: Vec<AuditEntry>,
    /// The number of tags that stay.
    pub kept: u64,
    /// Whether there is more to delete.
    pub more: bool,
}

impl Metadata {
    /// Deletes the tags of a repository on which `decide` decides, in one transaction with their entries in
    /// the audit log. A preview deletes all of them and rolls back.
    pub async fn retain(
        &self,
        repository: &RepositoryName,
        run: &str,
        is_preview: bool,
        decide: Decide,
    ) -> Result<RetentionStep, StoreError> {
        let (repository, run) = (repository.clone(), run.to_owned());
        let limit = if is_preview { usize::MAX } else { BATCH };
        let retain = move |sql: Sql<'_>| retain(sql, &repository, &run, limit, &decide);
        if is_preview { self.preview(retain).await } else { self.free(Durability::Disk, retain).await }
    }
}

fn retain(
    sql: Sql<'_>,
    repository: &RepositoryName,
    run: &str,
    limit: usize,
    decide: &Decide,
) -> Result<RetentionStep, StoreError> {
    let Some(id) = find(sql, repository)? else { return Ok(RetentionStep::default()) };
    let states = sql.all(
        "SELECT t.name, b.digest, t.updated_at, MAX(COALESCE(t.pulled_at, 0), COALESCE(m.pulled_at, 0))
         FROM tags t JOIN blobs b ON b.id = t.blob
         JOIN manifests m ON m.repository = t.repository AND m.blob = t.blob
         WHERE t.repository = ?1 AND t.hidden = 0 ORDER BY t.name",
        params![id],
        |row| {
            Ok(TagState {
                tag: columns::text(row, 0)?,
                digest: columns::digest(row, 1)?,
                pushed_at: columns::time(row, 2)?,
                pulled_at: Some(columns::time(row, 3)?).filter(|at| *at > SystemTime::UNIX_EPOCH),
            })
        },
    )?;
    let mut doomed = decide(&states);
    let mut step = RetentionStep { more: doomed.len() > limit, ..RetentionStep::default() };
    step.kept = (states.len() - doomed.len()) as u64;
    doomed.truncate(limit);
    let digests: HashMap<&Tag, Digest> = states.iter().map(|state| (&state.tag, state.digest)).collect();
    for (tag, reason) in doomed {
        let Some(&digest) = digests.get(&tag) else { continue };
        let actor =
            Actor { reason: Some(reason.clone()), run: Some(run.to_owned()), ..Actor::task("retention") };
        let sql = sql.acting_as(&actor);
        tags::delete(sql, repository, &tag)?;
        let with_manifest = discard_if_unused(sql, repository, id, &digest, &reason, run)?;
        let entry = entry(format!("{repository}:{tag}"), format!("{digest}; {reason}; run {run}"));
        audit::append(sql, &entry)?;
        step.audited.push(entry);
        step.deleted.push(RetentionDeletion { tag, digest, reason, with_manifest });
    }
    if !step.deleted.is_empty() {
        remove_if_empty(sql, repository, id)?;
    }
    Ok(step)
}

/// The audit entry of a deletion.
fn entry(object: String, detail: String) -> AuditEntry {
    AuditEntry {
        at: columns::from_millis(columns::now()),
        account: Some("(retention)".to_owned()),
        address: None,
        action: "retention.delete".to_owned(),
        object: Some(object),
        verdict: AuditOutcome::Allowed,
        status: None,
        request_id: None,
        detail: Some(detail),
    }
}

/// Moves a manifest to the trash, unless a tag, an index or a subject keeps it.
fn discard_if_unused(
    sql: Sql<'_>,
    repository: &RepositoryName,
    id: i64,
    digest: &Digest,
    reason: &str,
    run: &str,
) -> Result<bool, StoreError> {
    let unused = sql.first(
        "SELECT b.id FROM blobs b JOIN manifests m ON m.repository = ?1 AND m.blob = b.id
         WHERE b.digest = ?2
           AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = ?1 AND t.blob = b.id)
           AND NOT EXISTS (SELECT 1 FROM manifest_parts p JOIN manifests i ON i.repository = ?1 AND i.blob = p.manifest
                           WHERE p.blob = b.id AND p.is_manifest = 1)
           AND NOT EXISTS (SELECT 1 FROM referrers f JOIN blobs s ON s.digest = f.subject
                           JOIN manifests i ON i.repository = ?1 AND i.blob = s.id
                           WHERE f.repository = ?1 AND f.blob = b.id)",
        params![id, columns::key(digest)],
        |row| row.get::<i64>(0),
    )?;
    let Some(blob) = unused else { return Ok(false) };
    let deletion = Deletion { reason: reason.to_owned(), run: Some(run.to_owned()) };
    trash::discard(sql, repository, id, blob, &deletion, None, columns::now())?;
    remove_manifests(sql, id, 1)?;
    Ok(true)
}
