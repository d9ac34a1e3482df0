//! Metrics of the metadata: the writer's queue and commits, and the numbers of stored things.

use metrics::{Gauge, Histogram, LATENCY, Metrics, SIZES};

use super::sql::{Both, Sql};
use super::{Metadata, StoredCounts, WaitingCounts, columns};
use crate::StoreError;

/// The metrics of the writer thread. Clones share their values.
#[derive(Clone, Debug)]
pub(super) struct WriterMetrics {
    /// Operations that wait for the thread.
    pub(super) queue: Gauge,
    /// The time of a transaction from its begin to the end of its commit.
    pub(super) transactions: Histogram,
    /// The number of operations in a transaction.
    pub(super) batches: Histogram,
}

impl WriterMetrics {
    pub(super) fn new() -> Self {
        Self {
            queue: Gauge::default(),
            transactions: Histogram::new(LATENCY),
            batches: Histogram::new(SIZES),
        }
    }
}

impl Metadata {
    /// Adds the metrics of this database.
    pub fn register_metrics(&self, metrics: &mut Metrics) {
        let WriterMetrics { queue, transactions, batches } = self.inner.writer.metrics();
        metrics.add(
            "metadata_writer_queue",
            "Write operations that wait for the metadata's writer",
            queue.clone(),
        );
        metrics.add(
            "metadata_commit_duration_seconds",
            "Time of a transaction of the metadata's writer, with its commit",
            transactions.clone(),
        );
        metrics.add(
            "metadata_commit_operations",
            "Operations that share one commit of the metadata's writer",
            batches.clone(),
        );
    }

    /// Counts what is stored. Reads a row of every blob, so it is too slow for frequent calls.
    pub async fn count_stored(&self) -> Result<StoredCounts, StoreError> {
        self.read(count_stored).await
    }

    /// Counts the work that waits. Cheap, because little waits.
    pub async fn count_waiting(&self) -> Result<WaitingCounts, StoreError> {
        self.read(|sql| {
            let counts = sql.first(
                "SELECT (SELECT COUNT(*) FROM unsettled_contents),
                        (SELECT COALESCE(SUM(LENGTH(content)), 0) FROM unsettled_contents),
                        (SELECT COUNT(*) FROM changes
                         WHERE id > (SELECT cursor FROM change_consumers WHERE name = 'view') AND for_view = 1)
                        + (SELECT COUNT(*) FROM view_blocked),
                        (SELECT COUNT(*) FROM uploads),
                        (SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'pending'),
                        (SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'parked')",
                &[],
                |row| {
                    Ok(WaitingCounts {
                        journaled: columns::count(row, 0)?,
                        journaled_bytes: columns::count(row, 1)?,
                        view_changes: columns::count(row, 2)?,
                        uploads: columns::count(row, 3)?,
                        pending_deliveries: columns::count(row, 4)?,
                        parked_deliveries: columns::count(row, 5)?,
                    })
                },
            )?;
            Ok(counts.unwrap_or_default())
        })
        .await
    }
}

/// Counts each row. In PostgreSQL, that takes seconds from millions of rows on. Tables with more than a
/// million are estimated: by the statistics of the last analysis, and by the counted space.
const COUNT_STORED: Both = Both {
    sqlite: "SELECT (SELECT COUNT(*) FROM repositories WHERE manifests > 0),
                    (SELECT COUNT(*) FROM manifests), (SELECT COUNT(*) FROM tags),
                    (SELECT COUNT(*) FROM blobs WHERE size IS NOT NULL),
                    (SELECT COALESCE(SUM(size), 0) FROM blobs)",
    postgres: "SELECT (SELECT COUNT(*) FROM repositories WHERE manifests > 0),
                      CASE WHEN t.manifests > 1e6 THEN t.manifests::BIGINT ELSE (SELECT COUNT(*) FROM manifests) END,
                      CASE WHEN t.tags > 1e6 THEN t.tags::BIGINT ELSE (SELECT COUNT(*) FROM tags) END,
                      CASE WHEN t.blobs > 1e6 THEN t.blobs::BIGINT
                           ELSE (SELECT COUNT(*) FROM blobs WHERE size IS NOT NULL) END,
                      CASE WHEN t.blobs > 1e6 THEN COALESCE((SELECT bytes + unreferenced FROM space WHERE owner = '' AND counted_at > 0),
                                                       (SELECT SUM(size) FROM blobs))
                           ELSE (SELECT COALESCE(SUM(size), 0) FROM blobs) END
               FROM (SELECT (SELECT reltuples FROM pg_class WHERE oid = 'manifests'::regclass) AS manifests,
                            (SELECT reltuples FROM pg_class WHERE oid = 'tags'::regclass) AS tags,
                            (SELECT reltuples FROM pg_class WHERE oid = 'blobs'::regclass) AS blobs) AS t",
};

pub(super) fn count_stored(sql: Sql<'_>) -> Result<StoredCounts, StoreError> {
    let counts = sql.first(sql.either(COUNT_STORED), &[], |row| {
        Ok(StoredCounts {
            repositories: columns::count(row, 0)?,
            manifests: columns::count(row, 1)?,
            tags: columns::count(row, 2)?,
            blobs: columns::count(row, 3)?,
            blob_bytes: columns::count(row, 4)?,
        })
    })?;
    Ok(counts.unwrap_or_default())
}
