//! Notes of what the `repositories/` view does not show yet.
//!
//! A write that changes what the view shows leaves a note in the same transaction. So the view can
//! be written afterwards, and nothing is forgotten if the process ends in between. A note says
//! which item to look at, not what it became: writing an item twice, or late, does no harm.

use oci::RepositoryName;
use rusqlite::{Row, params};

use super::sql::Sql;
use super::writer::Durability;
use super::{Metadata, ViewChange, ViewItem, columns};
use crate::StoreError;

impl Metadata {
    /// The oldest notes that were not yet dealt with.
    pub async fn view_changes(&self, limit: usize) -> Result<Vec<ViewChange>, StoreError> {
        self.read(move |sql| {
            sql.all(
                "SELECT id, repository, kind, item FROM view_changes ORDER BY id LIMIT ?1",
                params![columns::limit_in(limit)],
                change,
            )
        })
        .await
    }

    /// Takes away notes that were dealt with, by their ids. Not synced: a note that comes back
    /// after a power failure is dealt with once more.
    pub async fn view_written(&self, ids: Vec<i64>) -> Result<(), StoreError> {
        self.write(Durability::Process, move |sql| {
            for id in ids {
                sql.run("DELETE FROM view_changes WHERE id = ?1", params![id])?;
            }
            Ok(())
        })
        .await
    }
}

/// Notes that `item` of the view may have changed.
pub(super) fn note(sql: Sql<'_>, repository: &RepositoryName, item: &ViewItem) -> Result<(), StoreError> {
    let (kind, text) = match item {
        ViewItem::Layer(digest) => ("layer", digest.to_string()),
        ViewItem::Revision(digest) => ("revision", digest.to_string()),
        ViewItem::Tag(tag) => ("tag", tag.to_string()),
        ViewItem::Repository => ("repository", String::new()),
    };
    sql.run(
        "INSERT INTO view_changes (repository, kind, item) VALUES (?1, ?2, ?3)",
        params![repository.as_str(), kind, text],
    )?;
    Ok(())
}

fn change(row: &Row<'_>) -> rusqlite::Result<ViewChange> {
    let item = match row.get_ref(2)?.as_str()? {
        "layer" => ViewItem::Layer(columns::text(row, 3)?),
        "revision" => ViewItem::Revision(columns::text(row, 3)?),
        "tag" => ViewItem::Tag(columns::text(row, 3)?),
        _ => ViewItem::Repository,
    };
    Ok(ViewChange { id: row.get(0)?, repository: columns::text(row, 1)?, item })
}

#[cfg(test)]
mod tests {
    use super::super::Metadata;
    use super::super::fixtures::{digest, empty, name, put, tagged};

    #[tokio::test]
    async fn a_note_stays_until_it_was_dealt_with_also_over_a_restart() {
        let (metadata, directory) = empty();
        put(&metadata, tagged("app", "m", &["a", "b"])).await;
        let all = metadata.view_changes(10).await.unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(metadata.view_changes(2).await.unwrap(), all[..2]);
        metadata.view_written(vec![all[0].id]).await.unwrap();

        metadata.close().await;
        let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
        assert_eq!(metadata.view_changes(10).await.unwrap(), all[1..]);
    }

    #[tokio::test]
    async fn the_number_of_a_note_is_never_used_again() {
        let (metadata, _directory) = empty();
        metadata.link_blob(&name("app"), &digest("one"), 1).await.unwrap();
        let first = metadata.view_changes(10).await.unwrap();
        metadata.view_written(first.iter().map(|change| change.id).collect()).await.unwrap();
        metadata.link_blob(&name("app"), &digest("two"), 1).await.unwrap();
        // A writer of the view that comes late takes nothing away that it has not seen.
        metadata.view_written(first.iter().map(|change| change.id).collect()).await.unwrap();
        assert_eq!(metadata.view_changes(10).await.unwrap().len(), 1);
    }
}
