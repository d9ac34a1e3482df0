//! The job of a collection: its stage and progress, so that an interrupted collection resumes where it was.

use std::time::SystemTime;

use serde_json::Value as Json;

use super::super::sql::{Sql, params};
use super::super::writer::Durability;
use super::super::{Metadata, columns};
use crate::StoreError;

const COLLECTION: &str = "collect garbage";

/// A collection that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionJob {
    /// Also before a restart.
    pub started_at: SystemTime,
    /// The stages that are finished in this pass.
    pub stage: usize,
    /// The progress in words of the caller; `None` before the first step.
    pub detail: Option<Json>,
}

impl Metadata {
    /// Begins a collection, or returns the one that was interrupted.
    pub async fn begin_collection(&self) -> Result<CollectionJob, StoreError> {
        let job = self
            .free(Durability::Process, |sql| {
                sql.send(
                    "INSERT INTO jobs (kind, subject, started_at) VALUES (?1, '', ?2) ON CONFLICT DO NOTHING",
                    params![COLLECTION, columns::now()],
                )?;
                read(sql)
            })
            .await?;
        job.ok_or_else(|| StoreError::Damaged("the job of the collection cannot be read".to_owned()))
    }

    /// Returns the collection that has begun and not ended.
    pub async fn collection_job(&self) -> Result<Option<CollectionJob>, StoreError> {
        self.read(read).await
    }

    /// Records the stage of the collection, the number of its removals and its progress. Not synced: after a
    /// power failure, the collection looks at some candidates again.
    pub async fn save_collection(&self, stage: usize, removed: u64, detail: Json) -> Result<(), StoreError> {
        self.write(Durability::Process, move |sql| {
            sql.send(
                "UPDATE jobs SET cursor = ?2, progress = ?3, detail = ?4 WHERE kind = ?1",
                params![
                    COLLECTION,
                    columns::limit_in(stage),
                    columns::count_in(removed)?,
                    detail.to_string()
                ],
            )
        })
        .await
    }

    /// Ends the collection.
    pub async fn end_collection(&self) -> Result<(), StoreError> {
        self.free(Durability::Process, |sql| {
            sql.send("DELETE FROM jobs WHERE kind = ?1", params![COLLECTION])
        })
        .await
    }
}

fn read(sql: Sql<'_>) -> Result<Option<CollectionJob>, StoreError> {
    sql.first("SELECT started_at, cursor, detail FROM jobs WHERE kind = ?1", params![COLLECTION], |row| {
        Ok(CollectionJob {
            started_at: columns::time(row, 0)?,
            stage: usize::try_from(columns::count(row, 1)?).unwrap_or(0),
            detail: columns::text_or_null(row, 2)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixtures::{empty, open};

    #[tokio::test]
    async fn collection_job_outlives_the_process() {
        let (metadata, directory) = empty();
        assert_eq!(metadata.collection_job().await.unwrap(), None);
        let begun = metadata.begin_collection().await.unwrap();
        assert_eq!((begun.stage, &begun.detail), (0, &None));
        metadata.save_collection(3, 7, json!({ "files": 7 })).await.unwrap();
        metadata.close().await;

        let metadata = open(&directory);
        let resumed = metadata.begin_collection().await.unwrap();
        assert_eq!((resumed.stage, resumed.started_at), (3, begun.started_at));
        assert_eq!(resumed.detail, Some(json!({ "files": 7 })));
        metadata.end_collection().await.unwrap();
        assert_eq!(metadata.collection_job().await.unwrap(), None);
    }
}
