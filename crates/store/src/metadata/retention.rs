//! Retention: deletes the tags of a repository that the rules name, and the manifests that only these tags
//! kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use accounts::Actor;
use oci::{Digest, RepositoryName, Tag};

use super::accounts::audit;
use super::rows::blobs::id_of;
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
    /// Deletes the next tags of a repository on which `decide` decides, in one transaction with their entries
    /// in the audit log.
    pub async fn retain(
        &self,
        repository: &RepositoryName,
        run: &str,
        decide: Decide,
    ) -> Result<RetentionStep, StoreError> {
        let (repository, run) = (repository.clone(), run.to_owned());
        self.free(Durability::Disk, move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(RetentionStep::default()) };
            let mut deletion = Run { sql, repository: &repository, id, run: &run, audited: Vec::new() };
            let mut step = retain(sql, id, BATCH, &decide, &mut deletion)?;
            step.audited = deletion.audited;
            if !step.deleted.is_empty() {
                remove_if_empty(sql, &repository, id)?;
            }
            Ok(step)
        })
        .await
    }

    /// Returns all deletions of [`retain`](Self::retain). Changes nothing, and blocks no change.
    pub async fn preview_retain(
        &self,
        repository: &RepositoryName,
        decide: Decide,
    ) -> Result<RetentionStep, StoreError> {
        let repository = repository.clone();
        self.read(move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(RetentionStep::default()) };
            retain(sql, id, usize::MAX, &decide, &mut Gone::default())
        })
        .await
    }
}

/// The deletions of a run, or those that a preview imagines.
trait Deletions {
    fn delete_tag(&mut self, tag: &Tag, digest: &Digest, reason: &str) -> Result<(), StoreError>;

    fn discard_manifest(&mut self, blob: i64, reason: &str) -> Result<(), StoreError>;

    fn is_gone(&self, holder: &Holder) -> bool;
}

/// A row that holds a manifest.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Holder {
    Tag(String),
    Manifest(i64),
}

/// The rows that a preview would have deleted.
#[derive(Default)]
struct Gone(HashSet<Holder>);

impl Deletions for Gone {
    fn delete_tag(&mut self, tag: &Tag, _: &Digest, _: &str) -> Result<(), StoreError> {
        self.0.insert(Holder::Tag(tag.as_str().to_owned()));
        Ok(())
    }

    fn discard_manifest(&mut self, blob: i64, _: &str) -> Result<(), StoreError> {
        self.0.insert(Holder::Manifest(blob));
        Ok(())
    }

    fn is_gone(&self, holder: &Holder) -> bool {
        self.0.contains(holder)
    }
}

/// The deletions of one transaction of a run.
struct Run<'a> {
    sql: Sql<'a>,
    repository: &'a RepositoryName,
    id: i64,
    run: &'a str,
    audited: Vec<AuditEntry>,
}

impl Run<'_> {
    fn actor(&self, reason: &str) -> Actor {
        Actor { reason: Some(reason.to_owned()), run: Some(self.run.to_owned()), ..Actor::task("retention") }
    }
}

impl Deletions for Run<'_> {
    fn delete_tag(&mut self, tag: &Tag, digest: &Digest, reason: &str) -> Result<(), StoreError> {
        let Self { repository, run, .. } = *self;
        tags::delete(self.sql.acting_as(&self.actor(reason)), repository, tag)?;
        let entry = entry(format!("{repository}:{tag}"), format!("{digest}; {reason}; run {run}"));
        audit::append(self.sql, &entry)?;
        self.audited.push(entry);
        Ok(())
    }

    fn discard_manifest(&mut self, blob: i64, reason: &str) -> Result<(), StoreError> {
        let deletion = Deletion { reason: reason.to_owned(), run: Some(self.run.to_owned()) };
        let actor = self.actor(reason);
        let sql = self.sql.acting_as(&actor);
        trash::discard(sql, self.repository, self.id, blob, &deletion, None, columns::now())?;
        remove_manifests(sql, self.id, 1)
    }

    fn is_gone(&self, _: &Holder) -> bool {
        false
    }
}

fn retain(
    sql: Sql<'_>,
    id: i64,
    limit: usize,
    decide: &Decide,
    deletions: &mut impl Deletions,
) -> Result<RetentionStep, StoreError> {
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
    let mut tags_left: HashMap<Digest, usize> = HashMap::new();
    for state in &states {
        *tags_left.entry(state.digest).or_default() += 1;
    }
    for (tag, reason) in doomed {
        let Some(&digest) = digests.get(&tag) else { continue };
        deletions.delete_tag(&tag, &digest, &reason)?;
        let left = tags_left.entry(digest).or_default();
        *left = left.saturating_sub(1);
        let unused = if *left == 0 { unused(sql, id, &digest, deletions)? } else { None };
        if let Some(blob) = unused {
            deletions.discard_manifest(blob, &reason)?;
        }
        step.deleted.push(RetentionDeletion { tag, digest, reason, with_manifest: unused.is_some() });
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

/// Returns a manifest unless a tag, an index or a subject holds it.
fn unused(
    sql: Sql<'_>,
    id: i64,
    digest: &Digest,
    deletions: &impl Deletions,
) -> Result<Option<i64>, StoreError> {
    let Some(blob) = id_of(sql, digest)? else { return Ok(None) };
    let mut is_held = false;
    sql.each_while("SELECT name FROM tags WHERE repository = ?1 AND blob = ?2", params![id, blob], |row| {
        is_held = !deletions.is_gone(&Holder::Tag(row.get(0)?));
        Ok(!is_held)
    })?;
    if is_held {
        return Ok(None);
    }
    sql.each_while(
        "SELECT i.blob FROM manifest_parts p JOIN manifests i ON i.repository = ?1 AND i.blob = p.manifest
         WHERE p.blob = ?2 AND p.is_manifest = 1
         UNION ALL
         SELECT i.blob FROM referrers f JOIN blobs s ON s.digest = f.subject
         JOIN manifests i ON i.repository = ?1 AND i.blob = s.id WHERE f.repository = ?1 AND f.blob = ?2",
        params![id, blob],
        |row| {
            is_held = !deletions.is_gone(&Holder::Manifest(row.get(0)?));
            Ok(!is_held)
        },
    )?;
    Ok((!is_held).then_some(blob))
}
