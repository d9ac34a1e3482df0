//! The audit log: actions with their account, client address and outcome, in the order of writing.

use std::time::SystemTime;

use super::super::Metadata;
use super::super::columns;
use super::super::sql::{Row, Sql, params};
use super::super::writer::Durability;
use super::{AuditAmendment, AuditEntry, AuditFilter, AuditRecord};
use crate::StoreError;

/// Selects the entries of a filter, with this condition on the account.
macro_rules! select {
    ($account:literal) => {
        concat!(
            "SELECT id, at, account, address, action, object, verdict, status, request_id, detail
             FROM audit
             WHERE id > ?1 AND id < ?8 AND ",
            $account,
            " AND (?4 IS NULL OR action = ?4 OR substr(action, 1, length(?4) + 1) = ?4 || '.')
             AND (?5 IS NULL OR substr(object, 1, length(?5)) = ?5)
             AND (?6 IS NULL OR verdict = ?6)
             AND (?7 IS NULL OR at >= ?7)"
        )
    };
}

/// Appends an entry to the audit log, in the transaction of its change.
pub(in crate::metadata) fn append(sql: Sql<'_>, entry: &AuditEntry) -> Result<(), StoreError> {
    sql.run(
        "INSERT INTO audit (at, account, address, action, object, verdict, status, request_id, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            columns::time_in(entry.at),
            entry.account,
            entry.address,
            entry.action,
            entry.object,
            entry.verdict.as_str(),
            entry.status,
            entry.request_id,
            entry.detail,
        ],
    )?;
    Ok(())
}

impl Metadata {
    /// Appends entries in their order, all or none.
    pub async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        self.write(Durability::Disk, move |sql| entries.iter().try_for_each(|entry| append(sql, entry))).await
    }

    /// Corrects stored entries and skips those that have expired.
    pub async fn amend_audit(&self, amendments: Vec<AuditAmendment>) -> Result<(), StoreError> {
        self.write(Durability::Process, move |sql| {
            for AuditAmendment { entry } in &amendments {
                sql.run(
                    "UPDATE audit SET action = ?5, object = ?6, status = ?7, detail = ?8
                     WHERE at = ?1 AND account IS NOT DISTINCT FROM ?2 AND request_id IS NOT DISTINCT FROM ?3 AND verdict = ?4",
                    params![
                        columns::time_in(entry.at),
                        entry.account,
                        entry.request_id,
                        entry.verdict.as_str(),
                        entry.action,
                        entry.object,
                        entry.status,
                        entry.detail,
                    ],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Returns up to `limit` entries that match the filter, by id.
    pub async fn audit(&self, filter: AuditFilter, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(move |sql| {
            let (after, limit) = (filter.after.unwrap_or(0), columns::limit_in(limit));
            let verdict = filter.verdict.map(super::AuditOutcome::as_str);
            let since = filter.since.map(columns::time_in);
            let before = filter.before.unwrap_or(i64::MAX);
            let params = params![
                after,
                limit,
                filter.account,
                filter.action,
                filter.object_prefix,
                verdict,
                since,
                before
            ];
            // An account has its own index.
            let statement = match (filter.account.is_some(), filter.latest) {
                (false, false) => concat!(select!("?3 IS NULL"), " ORDER BY id LIMIT ?2"),
                (false, true) => concat!(select!("?3 IS NULL"), " ORDER BY id DESC LIMIT ?2"),
                (true, false) => concat!(select!("account = ?3"), " ORDER BY id LIMIT ?2"),
                (true, true) => concat!(select!("account = ?3"), " ORDER BY id DESC LIMIT ?2"),
            };
            let mut records = sql.all(statement, params, record)?;
            if filter.latest {
                records.reverse();
            }
            Ok(records)
        })
        .await
    }

    /// Deletes up to `limit` entries older than `before`. Returns their number.
    pub async fn expire_audit(&self, before: SystemTime, limit: usize) -> Result<usize, StoreError> {
        self.write(Durability::Process, move |sql| {
            sql.run(
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)",
                params![columns::time_in(before), columns::limit_in(limit)],
            )
        })
        .await
    }
}

fn record(row: &Row<'_>) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        id: row.get(0)?,
        entry: AuditEntry {
            at: columns::time(row, 1)?,
            account: row.get(2)?,
            address: row.get(3)?,
            action: row.get(4)?,
            object: row.get(5)?,
            verdict: columns::text(row, 6)?,
            status: row.get(7)?,
            request_id: row.get(8)?,
            detail: row.get(9)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::fixtures::empty;
    use super::super::AuditOutcome;
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn entry(second: u64, account: Option<&str>, action: &str, object: &str) -> AuditEntry {
        AuditEntry {
            at: at(second),
            account: account.map(str::to_owned),
            address: Some("10.0.0.1".to_owned()),
            action: action.to_owned(),
            object: Some(object.to_owned()),
            verdict: AuditOutcome::Allowed,
            status: Some(201),
            request_id: Some("r".to_owned()),
            detail: None,
        }
    }

    async fn filled() -> (Metadata, tempfile::TempDir) {
        let (metadata, directory) = empty();
        let denied =
            AuditEntry { verdict: AuditOutcome::Denied, status: None, ..entry(30, None, "sign_in", "") };
        metadata
            .append_audit(vec![
                entry(10, Some("ann"), "manifest.push", "ann/app:1"),
                entry(20, Some("bob"), "user.add", "cat"),
                denied,
                entry(40, Some("ann"), "user.remove", "cat"),
                entry(50, Some("ann"), "users", "ann/application"),
            ])
            .await
            .unwrap();
        (metadata, directory)
    }

    async fn found(metadata: &Metadata, filter: AuditFilter, limit: usize) -> Vec<i64> {
        metadata.audit(filter, limit).await.unwrap().iter().map(|record| record.id).collect()
    }

    #[tokio::test]
    async fn audit_returns_entries_unchanged() {
        let (metadata, _directory) = empty();
        let kept = AuditEntry { detail: Some("d".to_owned()), ..entry(10, Some("ann"), "user.add", "bob") };
        let bare = AuditEntry {
            account: None,
            address: None,
            object: None,
            status: None,
            request_id: None,
            verdict: AuditOutcome::Failed,
            ..entry(11, None, "sign_in", "")
        };
        metadata.append_audit(vec![kept.clone(), bare.clone()]).await.unwrap();
        let records = metadata.audit(AuditFilter::default(), 10).await.unwrap();
        assert_eq!(records.into_iter().map(|record| record.entry).collect::<Vec<_>>(), [kept, bare]);
    }

    #[tokio::test]
    async fn audit_amendment_changes_its_row_alone() {
        let (metadata, _directory) = empty();
        let first = entry(10, Some("ann"), "blob.look", "bob/app@x");
        let other = AuditEntry { request_id: Some("other".to_owned()), ..first.clone() };
        metadata.append_audit(vec![first.clone(), other.clone()]).await.unwrap();
        let amended = AuditEntry {
            action: "blob.upload".to_owned(),
            object: Some("bob/app".to_owned()),
            status: Some(403),
            detail: Some("10 more".to_owned()),
            ..first
        };
        metadata.amend_audit(vec![AuditAmendment { entry: amended.clone() }]).await.unwrap();
        let records = metadata.audit(AuditFilter::default(), 10).await.unwrap();
        assert_eq!(records.into_iter().map(|record| record.entry).collect::<Vec<_>>(), [amended, other]);
    }

    #[tokio::test]
    async fn audit_filter_combines_conditions() {
        let (metadata, _directory) = filled().await;
        let all = AuditFilter::default;
        let text = |text: &str| Some(text.to_owned());
        for (filter, expected) in [
            (all(), &[1, 2, 3, 4, 5][..]),
            (AuditFilter { account: text("ann"), ..all() }, &[1, 4, 5]),
            (AuditFilter { account: text("an"), ..all() }, &[]),
            (AuditFilter { action: text("user"), ..all() }, &[2, 4]),
            (AuditFilter { action: text("user.add"), ..all() }, &[2]),
            (AuditFilter { object_prefix: text("ann/app"), ..all() }, &[1, 5]),
            (AuditFilter { object_prefix: text("ann/app:"), ..all() }, &[1]),
            (AuditFilter { object_prefix: text("ann_app"), ..all() }, &[]),
            (AuditFilter { verdict: Some(AuditOutcome::Denied), ..all() }, &[3]),
            (AuditFilter { since: Some(at(40)), ..all() }, &[4, 5]),
            (AuditFilter { after: Some(3), ..all() }, &[4, 5]),
            (AuditFilter { before: Some(3), ..all() }, &[1, 2]),
            (AuditFilter { after: Some(1), before: Some(4), ..all() }, &[2, 3]),
            (AuditFilter { account: text("ann"), action: text("user"), after: Some(1), ..all() }, &[4]),
        ] {
            assert_eq!(found(&metadata, filter.clone(), 10).await, expected, "{filter:?}");
        }
        assert_eq!(found(&metadata, all(), 2).await, [1, 2]);
        assert_eq!(found(&metadata, AuditFilter { latest: true, ..all() }, 2).await, [4, 5]);
        let of_ann = AuditFilter { account: text("ann"), latest: true, ..all() };
        assert_eq!(found(&metadata, of_ann.clone(), 2).await, [4, 5]);
        assert_eq!(found(&metadata, AuditFilter { before: Some(5), ..of_ann }, 2).await, [1, 4]);
    }

    #[tokio::test]
    async fn audit_expires_in_batches_without_reusing_ids() {
        let (metadata, _directory) = filled().await;
        assert_eq!(metadata.expire_audit(at(40), 2).await.unwrap(), 2);
        assert_eq!(found(&metadata, AuditFilter::default(), 10).await, [3, 4, 5]);
        assert_eq!(metadata.expire_audit(at(1000), 10).await.unwrap(), 3);
        metadata.append_audit(vec![entry(60, None, "x", "")]).await.unwrap();
        assert_eq!(found(&metadata, AuditFilter::default(), 10).await, [6]);
    }
}
