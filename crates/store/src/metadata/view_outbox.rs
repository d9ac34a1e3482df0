//! The `repositories/` view as a consumer of the outbox: items that the view has not written yet.
//!
//! An entry names the item and not its new state, so writing an item twice or late is idempotent. Items that
//! cannot be written move to a table of their own, so that they do not hold back the cursor.

use oci::{Digest, RepositoryName};

use super::rows::outbox::{self, VIEW};
use super::rows::{blobs, manifests, repositories};
use super::sql::{Sql, params};
use super::writer::Durability;
use super::{Metadata, ViewChange, ViewItem, ViewStamp, ViewTarget, changes, columns, view_state};
use crate::StoreError;

/// An item of the view, with its repository.
pub type RepositoryItem = (RepositoryName, ViewItem);

impl Metadata {
    /// Returns pending changes by id, after `after`. Items of [`Metadata::view_blocked`] are not among them.
    pub async fn view_changes(&self, after: i64, limit: usize) -> Result<Vec<ViewChange>, StoreError> {
        self.read(move |sql| {
            sql.all(
                "SELECT id, repository, kind, tag, digest FROM changes
                 WHERE id > ?1 AND id > (SELECT cursor FROM change_consumers WHERE name = ?3) AND for_view = 1
                 ORDER BY id LIMIT ?2",
                params![after, columns::limit_in(limit), VIEW],
                |row| {
                    let (repository, item) = (columns::text(row, 1)?, outbox::changed_item(row, 2)?);
                    Ok(ViewChange { id: row.get(0)?, repository, item })
                },
            )
        })
        .await
    }

    /// The cursor of the view, and the number of the newest change.
    pub async fn view_progress(&self) -> Result<(i64, i64), StoreError> {
        self.read(|sql| Ok((outbox::cursor(sql, VIEW)?.unwrap_or(0), changes::newest(sql)?))).await
    }

    /// Returns the items that could not be written, in an order of their own, after `after`.
    pub async fn view_blocked(
        &self,
        after: Option<RepositoryItem>,
        limit: usize,
    ) -> Result<Vec<RepositoryItem>, StoreError> {
        self.read(move |sql| {
            let (repository, (kind, item)) = match &after {
                Some((repository, item)) => (repository.as_str(), outbox::columns_of(item)),
                None => ("", ("", String::new())),
            };
            sql.all(
                "SELECT repository, kind, item FROM view_blocked WHERE (repository, kind, item) > (?1, ?2, ?3)
                 ORDER BY repository, kind, item LIMIT ?4",
                params![repository, kind, item, columns::limit_in(limit)],
                |row| Ok((columns::text(row, 0)?, outbox::blocked_item(row, 1)?)),
            )
        })
        .await
    }

    /// Returns the present targets of items, in their order and from one snapshot.
    pub async fn view_targets(
        &self,
        items: Vec<RepositoryItem>,
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

    /// Acknowledges the changes up to `up_to`, except the items `blocked`, which could not be written. The
    /// blocked items of the repositories `unblocked` were all written. Stores the stamps of the directories
    /// that were written. The transaction is not synced: after a power failure the view writes the items
    /// again.
    pub async fn view_written(
        &self,
        up_to: i64,
        blocked: &[RepositoryItem],
        unblocked: &[RepositoryName],
        stamps: Vec<(String, ViewStamp)>,
    ) -> Result<(), StoreError> {
        let (blocked, unblocked) = (blocked.to_vec(), unblocked.to_vec());
        self.free(Durability::Process, move |sql| {
            for (directory, stamp) in &stamps {
                view_state::set_stamp(sql, directory, stamp)?;
            }
            for repository in &unblocked {
                sql.run("DELETE FROM view_blocked WHERE repository = ?1", params![repository.as_str()])?;
            }
            for (repository, item) in &blocked {
                let (kind, item) = outbox::columns_of(item);
                sql.run(
                    "INSERT INTO view_blocked (repository, kind, item) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    params![repository.as_str(), kind, item],
                )?;
            }
            outbox::acknowledge(sql, VIEW, up_to)
        })
        .await?;
        self.changes().prune().await
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

#[cfg(test)]
mod tests {
    use super::super::fixtures::{digest, empty, name, open, put, tag, tagged};
    use super::super::{Import, ViewItem, ViewTarget};

    #[tokio::test]
    async fn view_cursor_survives_a_restart() {
        let (metadata, directory) = empty();
        put(&metadata, tagged("app", "m", &["a", "b"])).await;
        let all = metadata.view_changes(0, 10).await.unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(metadata.view_changes(0, 2).await.unwrap(), all[..2]);
        metadata.view_written(all[0].id, &[], &[], vec![]).await.unwrap();

        metadata.close().await;
        let metadata = open(&directory);
        assert_eq!(metadata.view_changes(0, 10).await.unwrap(), all[1..]);
    }

    #[tokio::test]
    async fn outbox_never_reuses_ids() {
        let (metadata, _directory) = empty();
        metadata.link_blob(&name("app"), &digest("one"), 1).await.unwrap();
        let first = metadata.view_changes(0, 10).await.unwrap();
        metadata.view_written(first[0].id, &[], &[], vec![]).await.unwrap();
        metadata.link_blob(&name("app"), &digest("two"), 1).await.unwrap();
        // A late acknowledgement deletes no newer entries.
        metadata.view_written(first[0].id, &[], &[], vec![]).await.unwrap();
        assert_eq!(metadata.view_changes(0, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn blocked_item_stays_until_it_is_written() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("a", "m", &["a"])).await;
        put(&metadata, tagged("b", "m", &["b"])).await;
        let blocked: Vec<_> = [ViewItem::Revision(digest("m")), ViewItem::Tag(tag("a"))]
            .into_iter()
            .map(|item| (name("a"), item))
            .collect();
        for _ in 0..2 {
            metadata.view_written(metadata.changes().newest(), &blocked, &[], vec![]).await.unwrap();
        }
        assert!(metadata.view_changes(0, 10).await.unwrap().is_empty());
        assert_eq!(metadata.view_blocked(None, 10).await.unwrap(), blocked);
        assert_eq!(metadata.view_blocked(Some(blocked[0].clone()), 10).await.unwrap(), blocked[1..]);
        let links = metadata.repository_links(&name("a")).await.unwrap();
        assert_eq!(links.unwritten.len(), 2);
        let removed =
            |repository| Import::Removed { repository: name(repository), item: blocked[0].1.clone() };
        let imported = metadata.import(vec![removed("a"), removed("b")], false).await.unwrap();
        assert_eq!(imported, [false, true], "the metadata is newer than a link that is not written");
        metadata.view_written(0, &[], &[name("a")], vec![]).await.unwrap();
        assert!(metadata.view_blocked(None, 10).await.unwrap().is_empty());
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
