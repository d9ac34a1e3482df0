//! The outbox of the `repositories/` view: items that the view has not written yet.
//!
//! An operation that changes an item of the view enqueues the item in its own transaction, so that nothing is
//! lost if the process ends before the view is written. An entry names the item and not its new state:
//! writing an item twice or late is idempotent.

use oci::{Digest, RepositoryName};

use super::rows::{blobs, manifests, outbox, repositories};
use super::sql::{Row, Sql, params};
use super::writer::Durability;
use super::{Metadata, ViewChange, ViewItem, ViewStamp, ViewTarget, columns, view_state};
use crate::StoreError;

/// The number of entries deleted in one transaction: a bound on the wait of other operations.
const DELETE_BATCH: i64 = 256;

impl Metadata {
    /// Returns pending entries by id, after `after`.
    pub async fn view_changes(&self, after: i64, limit: usize) -> Result<Vec<ViewChange>, StoreError> {
        self.read(move |sql| {
            sql.all(
                "SELECT id, repository, kind, item FROM view_changes WHERE id > ?1 ORDER BY id LIMIT ?2",
                params![after, columns::limit_in(limit)],
                change,
            )
        })
        .await
    }

    /// The id of the newest pending entry.
    pub async fn newest_view_change(&self) -> Result<Option<i64>, StoreError> {
        self.read(|sql| {
            sql.first("SELECT id FROM view_changes ORDER BY id DESC LIMIT 1", &[], |row| row.get(0))
        })
        .await
    }

    /// Returns the present targets of items, in their order and from one snapshot.
    pub async fn view_targets(
        &self,
        items: Vec<(RepositoryName, ViewItem)>,
    ) -> Result<Vec<(RepositoryName, ViewItem, ViewTarget)>, StoreError> {
        self.read(move |sql| {
            let targets = items.iter().map(|(repository, item)| {
                let target = target(sql, repository, item)?;
                Ok((repository.clone(), item.clone(), target))
            });
            targets.collect()
        })
        .await
    }

    /// Acknowledges the entries up to `up_to`, except those of the repositories `except`, and stores the
    /// stamps of the directories that were written. The transaction is not synced: after a power failure the
    /// view writes the items again.
    pub async fn view_written(
        &self,
        up_to: i64,
        except: &[RepositoryName],
        stamps: Vec<(String, ViewStamp)>,
    ) -> Result<(), StoreError> {
        if !stamps.is_empty() {
            self.write(Durability::Process, move |sql| {
                stamps.iter().try_for_each(|(directory, stamp)| view_state::set_stamp(sql, directory, stamp))
            })
            .await?;
        }
        if !except.is_empty() {
            let except: Vec<&str> = except.iter().map(RepositoryName::as_str).collect();
            let except =
                serde_json::to_string(&except).map_err(|error| StoreError::Damaged(error.to_string()))?;
            self.write(Durability::Process, move |sql| {
                sql.run(
                    "DELETE FROM view_changes
                     WHERE id <= ?1 AND repository NOT IN (SELECT value FROM json_each(?2))",
                    params![up_to, except],
                )
            })
            .await?;
            return Ok(());
        }
        loop {
            let deleted = self
                .write(Durability::Process, move |sql| {
                    sql.run(
                        "DELETE FROM view_changes
                         WHERE id <= ?1 AND id <= (SELECT MIN(id) FROM view_changes) + ?2",
                        params![up_to, DELETE_BATCH],
                    )
                })
                .await?;
            if deleted == 0 {
                return Ok(());
            }
        }
    }
}

fn target(sql: Sql<'_>, repository: &RepositoryName, item: &ViewItem) -> Result<ViewTarget, StoreError> {
    let link: Option<Digest> = match item {
        ViewItem::Layer(digest) => blobs::linked(sql, repository, digest)?.map(|_| *digest),
        ViewItem::Revision(digest) => match repositories::find(sql, repository)? {
            Some(id) => manifests::find(sql, id, digest)?.map(|_| *digest),
            None => None,
        },
        ViewItem::Tag(tag) => sql.first(
            "SELECT b.digest FROM repositories r
             JOIN tags t ON t.repository = r.id AND t.name = ?2 JOIN blobs b ON b.id = t.blob
             WHERE r.name = ?1",
            params![repository.as_str(), tag.as_str()],
            |row| columns::digest(row, 0),
        )?,
        ViewItem::Repository if repositories::find(sql, repository)?.is_some() => {
            return Ok(ViewTarget::Directory);
        }
        ViewItem::Repository => None,
    };
    Ok(link.map_or(ViewTarget::Nothing, ViewTarget::Link))
}

fn change(row: &Row<'_>) -> Result<ViewChange, StoreError> {
    Ok(ViewChange { id: row.get(0)?, repository: columns::text(row, 1)?, item: outbox::item(row, 2)? })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{digest, empty, name, put, tag, tagged};
    use super::super::{Metadata, ViewItem, ViewTarget};

    #[tokio::test]
    async fn outbox_keeps_entries_over_a_restart() {
        let (metadata, directory) = empty();
        put(&metadata, tagged("app", "m", &["a", "b"])).await;
        let all = metadata.view_changes(0, 10).await.unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(metadata.view_changes(0, 2).await.unwrap(), all[..2]);
        metadata.view_written(all[0].id, &[], vec![]).await.unwrap();

        metadata.close().await;
        let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
        assert_eq!(metadata.view_changes(0, 10).await.unwrap(), all[1..]);
    }

    #[tokio::test]
    async fn outbox_never_reuses_ids() {
        let (metadata, _directory) = empty();
        metadata.link_blob(&name("app"), &digest("one"), 1).await.unwrap();
        let first = metadata.view_changes(0, 10).await.unwrap();
        metadata.view_written(first[0].id, &[], vec![]).await.unwrap();
        metadata.link_blob(&name("app"), &digest("two"), 1).await.unwrap();
        // A late acknowledgement deletes no newer entries.
        metadata.view_written(first[0].id, &[], vec![]).await.unwrap();
        assert_eq!(metadata.view_changes(0, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn outbox_acknowledges_many_entries() {
        let (metadata, _directory) = empty();
        let tags: Vec<String> = (0..3 * super::DELETE_BATCH).map(|n| format!("t{n}")).collect();
        put(&metadata, tagged("app", "m", &tags.iter().map(String::as_str).collect::<Vec<_>>())).await;
        let all = metadata.view_changes(0, 10_000).await.unwrap();
        metadata.view_written(all[all.len() - 2].id, &[], vec![]).await.unwrap();
        assert_eq!(metadata.view_changes(0, 10_000).await.unwrap(), all[all.len() - 1..]);
    }

    #[tokio::test]
    async fn view_target_is_the_present_state() {
        let (metadata, _directory) = empty();
        let app = name("app");
        metadata.link_blob(&app, &digest("layer"), 1).await.unwrap();
        put(&metadata, tagged("app", "m", &["a"])).await;
        let items = [
            (ViewItem::Layer(digest("layer")), ViewTarget::Link(digest("layer"))),
            (ViewItem::Layer(digest("m")), ViewTarget::Nothing),
            (ViewItem::Revision(digest("m")), ViewTarget::Link(digest("m"))),
            (ViewItem::Revision(digest("layer")), ViewTarget::Nothing),
            (ViewItem::Tag(tag("a")), ViewTarget::Link(digest("m"))),
            (ViewItem::Tag(tag("b")), ViewTarget::Nothing),
            (ViewItem::Repository, ViewTarget::Directory),
        ];
        let asked = items.iter().map(|(item, _)| (app.clone(), item.clone()));
        let absent = items.iter().map(|(item, _)| (name("absent"), item.clone()));
        let targets = metadata.view_targets(asked.chain(absent).collect()).await.unwrap();
        let (there, nowhere) = targets.split_at(items.len());
        let expected = items.into_iter().map(|(item, target)| (app.clone(), item, target));
        assert!(there.iter().cloned().eq(expected), "{there:?}");
        assert!(nowhere.iter().all(|(_, _, target)| *target == ViewTarget::Nothing), "{nowhere:?}");
    }
}
