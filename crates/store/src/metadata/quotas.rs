//! Quotas: the use of each scope, and the recount of all counters.

use std::sync::{Arc, PoisonError};

use oci::RepositoryName;

use super::rows::quotas::{join, usage};
use super::rules::{ChangeRules, Quota, QuotaUsage};
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{Metadata, columns};
use crate::StoreError;

/// The use of a scope, as its content gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counted {
    scope: String,
    bytes: i64,
    tags: i64,
}

/// Counts the content of every scope.
const COUNT: &str = "
    SELECT s.scope,
           (SELECT COALESCE(SUM(b.size), 0) FROM blobs b WHERE b.id IN (
                SELECT l.blob FROM quota_members m JOIN blob_links l ON l.repository = m.repository
                WHERE m.scope = s.id
                UNION SELECT t.blob FROM quota_members m JOIN manifests t ON t.repository = m.repository
                WHERE m.scope = s.id)),
           (SELECT COUNT(*) FROM quota_members m JOIN tags t ON t.repository = m.repository
            WHERE m.scope = s.id AND t.hidden = 0)
    FROM quota_scopes s ORDER BY s.scope";

impl Metadata {
    /// The use of quotas.
    pub async fn quota_usage(&self, quotas: Vec<Quota>) -> Result<Vec<QuotaUsage>, StoreError> {
        self.read(move |sql| quotas.iter().map(|quota| usage(sql, quota.clone())).collect()).await
    }

    /// Sets the rules that every later change obeys. Counts all quotas again if their scopes have changed.
    pub async fn obey(&self, rules: Arc<dyn ChangeRules>) -> Result<(), StoreError> {
        let text = rules.quotas_text();
        *self.inner.rules.write().unwrap_or_else(PoisonError::into_inner) = Some(rules);
        let known: Option<String> =
            self.read(|sql| sql.first("SELECT rules FROM quota_rules", &[], |row| row.get(0))).await?;
        if known.unwrap_or_default() == text {
            return Ok(());
        }
        self.recount_quotas().await?;
        Ok(())
    }

    /// Compares the counters of all quotas with the content. Returns the scopes that differ.
    pub async fn drifted_quotas(&self) -> Result<Vec<String>, StoreError> {
        self.read(|sql| {
            let counted = count(sql)?;
            let kept = kept(sql)?;
            Ok(counted.into_iter().filter(|scope| !kept.contains(scope)).map(|scope| scope.scope).collect())
        })
        .await
    }

    /// Computes the counters of all quotas from the content.
    pub async fn recount_quotas(&self) -> Result<(), StoreError> {
        self.write(Durability::Bulk, |sql| {
            let text = sql.rules().map(ChangeRules::quotas_text).unwrap_or_default();
            sql.run("DELETE FROM quota_blobs", &[])?;
            sql.run("DELETE FROM quota_members", &[])?;
            sql.run("DELETE FROM quota_scopes", &[])?;
            if !text.is_empty() {
                let repositories: Vec<(i64, RepositoryName)> =
                    sql.all("SELECT id, name FROM repositories", &[], |row| {
                        Ok((row.get(0)?, columns::text(row, 1)?))
                    })?;
                for (id, name) in repositories {
                    join(sql, &name, id)?;
                }
            }
            sql.run(
                "INSERT INTO quota_blobs (blob, scope, holders)
                 SELECT blob, scope, COUNT(*) FROM (
                    SELECT l.blob AS blob, m.scope AS scope FROM quota_members m
                    JOIN blob_links l ON l.repository = m.repository
                    UNION ALL SELECT t.blob, m.scope FROM quota_members m
                    JOIN manifests t ON t.repository = m.repository)
                 GROUP BY blob, scope",
                &[],
            )?;
            for Counted { scope, bytes, tags } in count(sql)? {
                sql.run(
                    "UPDATE quota_scopes SET bytes = ?2, tags = ?3 WHERE scope = ?1",
                    params![scope, bytes, tags],
                )?;
            }
            sql.run("UPDATE quota_rules SET rules = ?1", params![text])?;
            Ok(())
        })
        .await
    }
}

fn count(sql: Sql<'_>) -> Result<Vec<Counted>, StoreError> {
    sql.all(COUNT, &[], |row| Ok(Counted { scope: row.get(0)?, bytes: row.get(1)?, tags: row.get(2)? }))
}

fn kept(sql: Sql<'_>) -> Result<Vec<Counted>, StoreError> {
    sql.all("SELECT scope, bytes, tags FROM quota_scopes", &[], |row| {
        Ok(Counted { scope: row.get(0)?, bytes: row.get(1)?, tags: row.get(2)? })
    })
}
