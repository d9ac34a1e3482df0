//! Rows of quotas: the repositories of each scope, and its counters, which triggers keep.

use oci::RepositoryName;

use super::super::rules::{Quota, QuotaUsage};
use super::super::sql::{Sql, params};
use super::super::{ChangeKind, NewChange, columns};
use super::outbox::append;
use crate::StoreError;

/// Adds a new repository to the scopes of the quotas that it counts towards.
pub(in crate::metadata) fn join(sql: Sql<'_>, name: &RepositoryName, id: i64) -> Result<(), StoreError> {
    let Some(rules) = sql.rules() else { return Ok(()) };
    for quota in rules.quotas(name) {
        let scope = scope(sql, &quota.scope)?;
        sql.send(
            "INSERT INTO quota_members (repository, scope) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![id, scope],
        )?;
    }
    Ok(())
}

/// The id of a scope, which is created if it does not exist.
pub(in crate::metadata) fn scope(sql: Sql<'_>, scope: &str) -> Result<i64, StoreError> {
    let id = sql.first("SELECT id FROM quota_scopes WHERE scope = ?1", params![scope], |row| row.get(0))?;
    if let Some(id) = id {
        return Ok(id);
    }
    let id =
        sql.first("INSERT INTO quota_scopes (scope) VALUES (?1) RETURNING id", params![scope], |row| {
            row.get(0)
        })?;
    id.ok_or_else(|| StoreError::Damaged(format!("the quota {scope} could not be inserted")))
}

/// The use of a quota; nothing if its scope has no repository yet.
pub(in crate::metadata) fn usage(sql: Sql<'_>, quota: Quota) -> Result<QuotaUsage, StoreError> {
    let used = sql.first(
        "SELECT MAX(bytes, 0), MAX(tags, 0) FROM quota_scopes WHERE scope = ?1",
        params![quota.scope],
        |row| Ok((columns::count(row, 0)?, columns::count(row, 1)?)),
    )?;
    let (bytes, tags) = used.unwrap_or_default();
    Ok(QuotaUsage { quota, bytes, tags })
}

/// Runs a change of a repository, and fails if it exceeds a quota. The caller's transaction then rolls it
/// back.
pub(in crate::metadata) fn within<T>(
    sql: Sql<'_>,
    repository: &RepositoryName,
    change: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let quotas = sql.rules().map(|rules| rules.quotas(repository)).unwrap_or_default();
    if quotas.is_empty() {
        return change();
    }
    let read = |quota: &Quota| usage(sql, quota.clone());
    let before: Vec<QuotaUsage> = quotas.iter().map(read).collect::<Result<_, _>>()?;
    let changed = change()?;
    for before in before {
        let after = read(&before.quota)?;
        if let Some(excess) = after.excess(&before) {
            return Err(StoreError::QuotaExceeded(Box::new(excess)));
        }
        if after.is_nearly_reached()
            && !before.is_nearly_reached()
            && let Some(rules) = sql.rules()
        {
            rules.quota_is_nearly_reached(&after);
            let detail = serde_json::json!({
                "quota": after.quota.scope, "usedBytes": after.bytes, "usedTags": after.tags,
            });
            append(sql, NewChange::of(ChangeKind::QuotaWarning, repository).detail(detail))?;
        }
    }
    Ok(changed)
}
