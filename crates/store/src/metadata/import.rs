//! Import: takes over links found below `repositories/`, many in one commit.

#![allow(missing_docs, reason = "the names of most fields say what they hold")]

use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};

use super::rows::outbox::{any_pending, append, is_pending};
use super::rows::repositories::{find, find_or_create_at, touch};
use super::rows::{blobs, erasures, manifests, put_manifest, tags};
use super::sql::Sql;
use super::writer::Durability;
use super::{
    Metadata, NewChange, PutManifest, TagsDirectory, ViewItem, ViewStamp, columns, damage, view_state,
};
use crate::StoreError;

/// A finding of a scan of `repositories/`.
#[derive(Clone, Debug)]
pub enum Import {
    /// A link of a blob.
    Blob {
        repository: RepositoryName,
        digest: Digest,
        /// In bytes.
        size: u64,
        /// The time of the link.
        at: SystemTime,
    },
    /// A link of a manifest.
    Manifest {
        /// Without tags.
        put: Box<PutManifest>,
        /// The time of the link.
        at: SystemTime,
    },
    /// A link of a tag. Skipped if its manifest is not in the repository.
    Tag {
        repository: RepositoryName,
        tag: Tag,
        target: Digest,
        /// The time of the link.
        at: SystemTime,
        /// Whether another program wrote the link after the pending changes of the tag, which are otherwise
        /// newer.
        is_newer: bool,
    },
    /// A link that another program has removed.
    Removed { repository: RepositoryName, item: ViewItem },
    /// A directory that was scanned.
    Directory {
        /// Relative to `repositories/`; empty for that directory itself.
        path: String,
        /// The stamp before the scan.
        stamp: ViewStamp,
        /// The identity of its tags directory, if that holds all tags of the repository.
        tags_directory: Option<TagsDirectory>,
        /// The paths that could not be adopted, with the reasons. They replace earlier ones.
        problems: Vec<(Vec<u8>, String)>,
    },
    /// Content whose stored bytes do not match its digest.
    Damaged { digest: Digest },
    /// A directory that no longer exists.
    Vanished {
        /// Relative to `repositories/`.
        path: String,
    },
}

impl Metadata {
    /// Imports all of `found` in one commit, or none of it. Returns which of them changed something.
    ///
    /// Unlike a push, an import accepts manifests without their parts, and the view does not write links that
    /// it already has. It skips items that are pending in the outbox, because the metadata is newer than
    /// their links. The import of a whole directory into an empty database (`is_first`) appends no changes,
    /// because no consumer has an older state.
    pub async fn import(&self, found: Vec<Import>, is_first: bool) -> Result<Vec<bool>, StoreError> {
        self.write(Durability::Bulk, move |sql| {
            // Digests are random, so each manifest changes many scattered pages.
            sql.expect_many_changes()?;
            // Other programs have made these changes already.
            let sql = sql.without_tag_rules();
            let has_pending = any_pending(sql)?;
            let has_erasures = erasures::any(sql)?;
            let take = |found| {
                if has_erasures && is_erased(sql, found)? {
                    return Ok(false);
                }
                let (is_changed, changes) = take(sql, found, has_pending)?;
                if !is_first {
                    changes.into_iter().try_for_each(|change| append(sql, change))?;
                }
                Ok(is_changed)
            };
            found.iter().map(take).collect()
        })
        .await
    }
}

/// Whether a link is older than the erasure of its content. A newer one is of a push to another program.
fn is_erased(sql: Sql<'_>, found: &Import) -> Result<bool, StoreError> {
    let (repository, digest, at) = match found {
        Import::Blob { repository, digest, at, .. } => (repository, digest, at),
        Import::Manifest { put, at } => (&put.repository, &put.manifest.digest, at),
        _ => return Ok(false),
    };
    Ok(erasures::find(sql, repository, digest)?.is_some_and(|erasure| *at <= erasure.at))
}

/// Takes over a finding. Returns whether it changed something, and the changes that are not appended yet.
fn take(sql: Sql<'_>, found: &Import, has_pending: bool) -> Result<(bool, Vec<NewChange>), StoreError> {
    if has_pending
        && !matches!(found, Import::Tag { is_newer: true, .. })
        && let Some((repository, item)) = item_of(found)
        && is_pending(sql, repository, &item)?
    {
        return Ok((false, vec![]));
    }
    let is_changed = match found {
        Import::Blob { repository, digest, size, at } => {
            let at = columns::time_in(*at);
            let id = find_or_create_at(sql, repository, at)?;
            touch(sql, id, at)?;
            let blob = blobs::intern_found(sql, digest, *size)?;
            let is_new = blobs::link_in(sql, id, blob, at)?;
            if is_new {
                erasures::end(sql, repository, digest)?;
            }
            let linked = is_new.then(|| blobs::linked_change(repository, *digest, *size));
            return Ok((is_new, linked.into_iter().collect()));
        }
        Import::Manifest { put, at } => {
            let stored = put_manifest::store(sql, put, columns::time_in(*at))?;
            let put = stored.is_new.then(|| put_manifest::put_change(put));
            return Ok((stored.is_new, put.into_iter().chain(stored.moved).collect()));
        }
        Import::Tag { repository, tag, target, at, .. } => {
            let Some(id) = find(sql, repository)? else { return Ok((false, vec![])) };
            let Some((blob, is_index)) = manifests::find(sql, id, target)? else {
                return Ok((false, vec![]));
            };
            let at = columns::time_in(*at);
            touch(sql, id, at)?;
            let target = tags::Target { digest: target, blob, is_index };
            let moved = tags::point(sql, (id, repository), tag, target, at)?;
            return Ok((moved.is_some(), moved.into_iter().collect()));
        }
        // These append their changes, because the view has more to remove than the link that is gone.
        Import::Removed { repository, item } => match item {
            ViewItem::Layer(digest) => blobs::unlink(sql, repository, digest),
            ViewItem::Revision(digest) => manifests::delete(sql, repository, digest),
            ViewItem::Tag(tag) => Ok(tags::delete(sql, repository, tag)?.is_some()),
            ViewItem::Repository => Ok(false),
        },
        Import::Directory { path, stamp, tags_directory, problems } => {
            view_state::set_stamp(sql, path, stamp)?;
            if let Some(directory) = tags_directory {
                view_state::set_tags_directory(sql, path, directory)?;
            }
            view_state::set_problems(sql, path, problems)
        }
        Import::Damaged { digest } => damage::mark(sql, digest, true),
        Import::Vanished { path } => view_state::delete(sql, path),
    };
    Ok((is_changed?, vec![]))
}

/// The item of the view that a finding concerns.
fn item_of(found: &Import) -> Option<(&RepositoryName, ViewItem)> {
    match found {
        Import::Blob { repository, digest, .. } => Some((repository, ViewItem::Layer(*digest))),
        Import::Manifest { put, .. } => Some((&put.repository, ViewItem::Revision(put.manifest.digest))),
        Import::Tag { repository, tag, .. } => Some((repository, ViewItem::Tag(tag.clone()))),
        Import::Removed { repository, item } => Some((repository, item.clone())),
        Import::Directory { .. } | Import::Damaged { .. } | Import::Vanished { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::ViewItem;
    use super::super::fixtures::{
        acknowledged_items, by_tag, digest, empty, layer, manifest, name, put, tag, tagged,
    };
    use super::Import;
    use accounts::Visible;

    fn at() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    #[tokio::test]
    async fn import_takes_incomplete_images_with_their_dates() {
        let (metadata, _directory) = empty();
        let mut image = manifest("app", "m");
        image.parts = vec![layer("layer"), layer("lost")];
        image.description = Some("An image of penguins".into());
        let found = vec![
            Import::Manifest { put: Box::new(image), at: at() },
            Import::Blob { repository: name("app"), digest: digest("layer"), size: 100, at: at() },
            Import::Tag {
                repository: name("app"),
                tag: tag("latest"),
                target: digest("m"),
                at: at(),
                is_newer: false,
            },
            Import::Tag {
                repository: name("app"),
                tag: tag("lost"),
                target: digest("lost"),
                at: at(),
                is_newer: false,
            },
        ];
        assert_eq!(metadata.import(found.clone(), true).await.unwrap(), [true, true, true, false]);
        assert_eq!(metadata.import(found, false).await.unwrap(), [false; 4]);
        assert!(metadata.manifest(&name("app"), &by_tag("latest")).await.unwrap().is_some());
        assert_eq!(metadata.blob(&name("app"), &digest("layer")).await.unwrap(), Some(100));
        assert_eq!(metadata.blob(&name("app"), &digest("lost")).await.unwrap(), None);
        assert_eq!(metadata.search(&Visible::Everything, "penguin", 0, 10).await.unwrap().total, 1);
        assert_eq!(acknowledged_items(&metadata).await, []);
        let tags = metadata.tag_records(&name("app"), None, 9, true).await.unwrap().unwrap();
        assert_eq!(tags[0].updated_at, at());
        assert_eq!(metadata.repository(&name("app")).await.unwrap().unwrap().updated_at, at());
    }

    #[tokio::test]
    async fn import_leaves_items_whose_link_is_not_written_yet() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "one", &["a"])).await;
        acknowledged_items(&metadata).await;
        put(&metadata, tagged("app", "two", &["a"])).await;
        let was = Import::Tag {
            repository: name("app"),
            tag: tag("a"),
            target: digest("one"),
            at: at(),
            is_newer: false,
        };
        let removed = Import::Removed { repository: name("app"), item: ViewItem::Tag(tag("a")) };
        assert_eq!(metadata.import(vec![was.clone(), removed.clone()], false).await.unwrap(), [false, false]);
        acknowledged_items(&metadata).await;
        assert_eq!(metadata.import(vec![was, removed], false).await.unwrap(), [true, true]);
    }
}
