//! Referrers: the manifests of a repository that name another one as their subject.

use oci::{Digest, RepositoryName};
use rusqlite::{Row, params};

use super::repositories::find;
use super::{Metadata, ReferrerRecord, columns};
use crate::StoreError;

/// The rows of referrers `f`, with what is listed of them; conditions follow.
macro_rules! referrers {
    ($conditions:literal) => {
        concat!(
            "SELECT f.digest, m.media_type, COALESCE(b.size, 0), m.artifact_type, m.annotations
             FROM referrers f
             JOIN manifests m ON m.repository = f.repository AND m.blob = f.blob
             JOIN blobs b ON b.id = f.blob
             WHERE f.repository = ?1 AND f.subject = ?2 AND f.digest > ?3 ",
            $conditions,
            " ORDER BY f.digest LIMIT ?4"
        )
    };
}

impl Metadata {
    /// The manifests of the repository whose subject is `subject`, in the order of their digests,
    /// from the one after `after`; with `artifact_type`, only those of that type. The subject
    /// itself need not be there.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<ReferrerRecord>, StoreError> {
        let (repository, subject, after) = (repository.clone(), *subject, after.copied());
        let artifact_type = artifact_type.map(str::to_owned);
        self.read(move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(Vec::new()) };
            let subject = columns::key(&subject);
            let (beginning, after) = (Vec::new(), after.as_ref().map(columns::key));
            let after: &dyn rusqlite::ToSql = match &after {
                Some(after) => after,
                // Before every key.
                None => &beginning,
            };
            let limit = columns::limit_in(limit);
            match artifact_type {
                None => sql.all(referrers!(""), params![id, subject, after, limit], record),
                Some(artifact_type) => sql.all(
                    referrers!("AND f.artifact_type = ?5"),
                    params![id, subject, after, limit, artifact_type],
                    record,
                ),
            }
        })
        .await
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<ReferrerRecord> {
    Ok(ReferrerRecord {
        manifest: columns::manifest(row, 0)?,
        artifact_type: row.get(3)?,
        annotations: columns::annotations(row, 4)?,
    })
}
