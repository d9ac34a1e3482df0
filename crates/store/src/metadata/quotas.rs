//! Quotas: the use of each scope, and the recount of all counters.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use oci::RepositoryName;

use super::rows::quotas::{join, usage};
use super::rules::{ChangeRules, Quota, QuotaExcess, QuotaUsage};
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

/// Deleted images of a refusal whose bytes are counted at most, in the trash and without their last tag each.
const DELETED: usize = 1_000;

/// The bytes of a scope that its deleted images hold and that no other image of the scope needs. An image
/// whose last tag was deleted is a candidate of kind 0, and still a manifest of its repository.
const COUNT_DELETED: &str = "
    WITH members AS (
        SELECT m.repository AS id FROM quota_scopes s JOIN quota_members m ON m.scope = s.id WHERE s.scope = ?1),
    deleted AS (
        SELECT manifest, repository FROM (
            SELECT d.blob AS manifest, r.id AS repository FROM members m JOIN repositories r ON r.id = m.id
            JOIN deleted_manifests d ON d.repository = r.name LIMIT ?2) AS trash
        UNION SELECT manifest, repository FROM (
            SELECT c.blob AS manifest, c.repository AS repository FROM members m
            JOIN gc_candidates c ON c.kind = 0 AND c.repository = m.id LIMIT ?2) AS candidates)
    SELECT COALESCE(SUM(b.size), 0) FROM blobs b
    WHERE b.id IN (
        SELECT p.blob FROM deleted d JOIN manifest_parts p ON p.manifest = d.manifest
        JOIN blob_links l ON l.repository = d.repository AND l.blob = p.blob
        UNION SELECT d.manifest FROM deleted d
        JOIN manifests t ON t.repository = d.repository AND t.blob = d.manifest)
    AND NOT EXISTS (
        SELECT 1 FROM manifest_parts p JOIN manifests t ON t.blob = p.manifest
        JOIN members m ON m.id = t.repository
        WHERE p.blob = b.id AND NOT EXISTS (
            SELECT 1 FROM gc_candidates c WHERE c.kind = 0 AND c.repository = t.repository AND c.blob = t.blob))
    AND NOT EXISTS (
        SELECT 1 FROM manifests t JOIN members m ON m.id = t.repository
        WHERE t.blob = b.id AND NOT EXISTS (
            SELECT 1 FROM gc_candidates c WHERE c.kind = 0 AND c.repository = t.repository AND c.blob = t.blob))";

impl Metadata {
    /// Adds to a refusal the bytes that only deleted images need, if they can be counted.
    pub async fn with_deleted(&self, mut excess: QuotaExcess) -> QuotaExcess {
        if excess.is_bytes {
            match self.deleted_bytes(excess.scope.clone()).await {
                Ok(bytes) => excess.deleted = bytes,
                Err(error) => tracing::debug!(%error, "cannot count the deleted images of a quota"),
            }
        }
        excess
    }

    async fn deleted_bytes(&self, scope: String) -> Result<u64, StoreError> {
        // Deletions of the last minute count as well.
        self.note_changes(Duration::ZERO).await?;
        self.read(move |sql| {
            let most = columns::limit_in(DELETED);
            let bytes = sql.first(COUNT_DELETED, params![scope, most], |row| columns::count(row, 0))?;
            Ok(bytes.unwrap_or(0))
        })
        .await
    }

    /// The use of quotas.
    pub async fn quota_usage(&self, quotas: Vec<Quota>) -> Result<Vec<QuotaUsage>, StoreError> {
        self.read(move |sql| quotas.iter().map(|quota| usage(sql, quota.clone())).collect()).await
    }

    /// The use of up to `limit` scopes of a kind, as `(scope, bytes, tags)`, after `after` in the order of their
    /// names, which begin with `prefix`.
    pub async fn scopes_in_use(
        &self,
        prefix: &'static str,
        after: String,
        limit: usize,
    ) -> Result<Vec<(String, u64, u64)>, StoreError> {
        self.read(move |sql| {
            let mut scopes = sql.all(
                "SELECT scope, MAX(bytes, 0), MAX(tags, 0) FROM quota_scopes
                 WHERE scope > ?1 AND scope >= ?2 ORDER BY scope LIMIT ?3",
                params![after, prefix, columns::limit_in(limit)],
                |row| Ok((row.get::<String>(0)?, columns::count(row, 1)?, columns::count(row, 2)?)),
            )?;
            scopes.retain(|(scope, _, _)| scope.starts_with(prefix));
            Ok(scopes)
        })
        .await
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
                    JOIN manifests t ON t.repository = m.repository) AS h
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use accounts::Actor;
    use oci::{RepositoryName, Tag};
    use proptest::prelude::*;

    use super::super::fixtures::{digest, empty, layer, name, tag, tagged};
    use super::super::{PutManifest, QuotaUsage, TagRefusal, UndoOutcome, UndoTarget};
    use super::*;

    /// A quota of the whole registry, and one of each repository.
    struct Limits(Option<u64>);

    impl ChangeRules for Limits {
        fn may_move(&self, _: &RepositoryName, _: &Tag, _: &Actor) -> Result<(), TagRefusal> {
            Ok(())
        }

        fn may_delete(&self, _: &RepositoryName, _: &Tag, _: &Actor) -> Result<(), TagRefusal> {
            Ok(())
        }

        fn has_tag_rules(&self, _: &RepositoryName) -> bool {
            false
        }

        fn quotas(&self, repository: &RepositoryName) -> Vec<Quota> {
            let quota = |scope: String| Quota { scope, max_bytes: self.0, max_tags: None };
            vec![quota("all".into()), quota(repository.to_string())]
        }

        fn quotas_text(&self) -> String {
            "all and each".into()
        }

        fn quota_is_nearly_reached(&self, _: &QuotaUsage) {}
    }

    async fn used(metadata: &Metadata) -> (u64, u64) {
        let all = Quota { scope: "all".into(), max_bytes: None, max_tags: None };
        let usage = metadata.quota_usage(vec![all]).await.unwrap().remove(0);
        (usage.bytes, usage.tags)
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Link(u8, u8),
        Unlink(u8, u8),
        Put(u8, u8, u8),
        DeleteTag(u8, u8),
        DeleteManifest(u8, u8),
        Restore(u8, u8),
        DeleteRepository(u8),
    }

    async fn run(metadata: &Metadata, step: Step) -> Result<(), StoreError> {
        let repository = |number: u8| name(&format!("r{number}"));
        let image = |number: u8| digest(&format!("m{number}"));
        let blob = |number: u8| digest(&format!("b{number}"));
        match step {
            Step::Link(r, b) => metadata.link_blob(&repository(r), &blob(b), 100).await?,
            Step::Unlink(r, b) => _ = metadata.unlink_blob(&repository(r), &blob(b)).await?,
            Step::Put(r, m, t) => {
                let put = tagged(&format!("r{r}"), &format!("m{m}"), &[&format!("t{t}")]);
                _ = metadata
                    .put_manifest(PutManifest { parts: vec![layer(&format!("b{m}"))], ..put })
                    .await?;
            }
            Step::DeleteTag(r, t) => {
                _ = metadata.delete_tag(&repository(r), &tag(&format!("t{t}"))).await?;
            }
            Step::DeleteManifest(r, m) => _ = metadata.delete_manifest(&repository(r), &image(m)).await?,
            Step::Restore(r, m) => _ = metadata.restore_manifest(&repository(r), &image(m)).await?,
            Step::DeleteRepository(r) => _ = metadata.delete_repository(&repository(r)).await?,
        }
        Ok(())
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let small = || 0_u8..3;
        proptest::collection::vec(
            prop_oneof![
                (small(), small()).prop_map(|(r, b)| Step::Link(r, b)),
                (small(), small()).prop_map(|(r, b)| Step::Unlink(r, b)),
                (small(), small(), small()).prop_map(|(r, m, t)| Step::Put(r, m, t)),
                (small(), small()).prop_map(|(r, t)| Step::DeleteTag(r, t)),
                (small(), small()).prop_map(|(r, m)| Step::DeleteManifest(r, m)),
                (small(), small()).prop_map(|(r, m)| Step::Restore(r, m)),
                small().prop_map(Step::DeleteRepository),
            ],
            1..40,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn counters_never_drift(steps in steps()) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let (metadata, _directory) = empty();
                metadata.obey(Arc::new(Limits(Some(450)))).await.unwrap();
                for step in steps {
                    match run(&metadata, step).await {
                        Ok(()) | Err(StoreError::QuotaExceeded(_)) => {}
                        Err(error) => panic!("{step:?}: {error}"),
                    }
                    assert_eq!(metadata.drifted_quotas().await.unwrap(), [""; 0], "after {step:?}");
                }
                let before = used(&metadata).await;
                metadata.recount_quotas().await.unwrap();
                assert_eq!(used(&metadata).await, before);
            });
        }
    }

    #[tokio::test]
    async fn restoration_beyond_a_quota_is_refused() {
        let (metadata, _directory) = empty();
        metadata.obey(Arc::new(Limits(Some(250)))).await.unwrap();
        for image in [1, 2] {
            run(&metadata, Step::Link(0, image)).await.unwrap();
            run(&metadata, Step::Put(0, image, image)).await.unwrap();
            run(&metadata, Step::DeleteRepository(0)).await.unwrap();
        }
        let restore =
            async |image: u8| metadata.restore_manifest(&name("r0"), &digest(&format!("m{image}"))).await;
        let undo =
            async |image: u8| metadata.undo(&name("r0"), &tag(&format!("t{image}")), UndoTarget::Last).await;
        restore(1).await.unwrap().unwrap();
        run(&metadata, Step::Link(0, 0)).await.unwrap();
        assert!(matches!(restore(2).await, Err(StoreError::QuotaExceeded(_))));
        assert!(matches!(undo(2).await, Err(StoreError::QuotaExceeded(_))));
        run(&metadata, Step::Unlink(0, 0)).await.unwrap();
        assert!(matches!(undo(2).await, Ok(UndoOutcome::Done { .. })));
    }

    #[tokio::test]
    async fn drifted_counters_are_found_and_counted_again() {
        let (metadata, _directory) = empty();
        metadata.link_blob(&name("app"), &digest("old"), 70).await.unwrap();
        metadata.obey(Arc::new(Limits(None))).await.unwrap();
        assert_eq!(used(&metadata).await, (70, 0), "content from before the rules counts");
        let drift = |sql: Sql<'_>| sql.run("UPDATE quota_scopes SET bytes = 9 WHERE scope = 'app'", &[]);
        metadata.write(Durability::Disk, drift).await.unwrap();
        assert_eq!(metadata.drifted_quotas().await.unwrap(), ["app"]);
        metadata.recount_quotas().await.unwrap();
        assert!(metadata.drifted_quotas().await.unwrap().is_empty());
    }
}
