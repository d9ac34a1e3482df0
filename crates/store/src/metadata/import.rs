//! Import: what was found below `repositories/`, many items in one commit.

use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};

use super::rows::outbox::is_noted;
use super::rows::repositories::{find, find_or_make_at, touch};
use super::rows::{blobs, manifests, tags};
use super::sql::Sql;
use super::writer::Durability;
use super::{Metadata, PutManifest, ViewItem, ViewStamp, columns, view_state};
use crate::StoreError;

/// One thing that was found.
#[derive(Clone, Debug)]
pub enum Import {
    /// A repository holds a blob.
    Blob {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// When its link was written.
        at: SystemTime,
    },
    /// A repository holds a manifest.
    Manifest {
        /// The manifest, without tags.
        put: Box<PutManifest>,
        /// When its link was written.
        at: SystemTime,
    },
    /// A tag points to a manifest of the repository. Skipped if that is not there.
    Tag {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The manifest.
        target: Digest,
        /// When its link was written.
        at: SystemTime,
    },
    /// Another program has removed a link.
    Removed {
        /// The repository.
        repository: RepositoryName,
        /// Which link.
        item: ViewItem,
    },
    /// A directory was read.
    Directory {
        /// Its path relative to `repositories/`, empty for that itself.
        path: String,
        /// What it looked like before it was read.
        stamp: ViewStamp,
        /// What of it could not be adopted: the path of each, and why. They replace those of before.
        problems: Vec<(Vec<u8>, String)>,
    },
    /// A directory that was there before is not any more.
    Vanished {
        /// Its path relative to `repositories/`.
        path: String,
    },
}

impl Metadata {
    /// Takes in all of `found` in one commit, or nothing of it; tells which of them changed something.
    ///
    /// Unlike a push it takes a manifest whose parts are not there, and leaves no notes for the
    /// `repositories/` view, which is where all this comes from. An item for which there is a note
    /// is left alone: the metadata has something newer than its link.
    pub async fn import(&self, found: Vec<Import>) -> Result<Vec<bool>, StoreError> {
        self.write(Durability::Bulk, move |sql| {
            // Digests are scattered, so that each manifest changes pages all over the database.
            sql.expect_many_changes()?;
            let has_notes = sql.exists("SELECT 1 FROM view_changes LIMIT 1", &[])?;
            found.iter().map(|found| take(sql, found, has_notes)).collect()
        })
        .await
    }
}

fn take(sql: Sql<'_>, found: &Import, has_notes: bool) -> Result<bool, StoreError> {
    if has_notes
        && let Some((repository, item)) = item_of(found)
        && is_noted(sql, repository, &item)?
    {
        return Ok(false);
    }
    match found {
        Import::Blob { repository, digest, size, at } => {
            let at = columns::time_in(*at);
            let repository = find_or_make_at(sql, repository, at)?;
            touch(sql, repository, at)?;
            let blob = blobs::intern_found(sql, digest, *size)?;
            blobs::link_in(sql, repository, blob)
        }
        Import::Manifest { put, at } => Ok(manifests::store(sql, put, columns::time_in(*at))?.is_new),
        Import::Tag { repository, tag, target, at } => {
            let Some(id) = find(sql, repository)? else { return Ok(false) };
            let Some((blob, is_index)) = manifests::find(sql, id, target)? else { return Ok(false) };
            let at = columns::time_in(*at);
            touch(sql, id, at)?;
            tags::point(sql, id, tag, blob, is_index, at)
        }
        Import::Removed { repository, item } => match item {
            ViewItem::Layer(digest) => blobs::unlink(sql, repository, digest),
            ViewItem::Revision(digest) => manifests::delete(sql, repository, digest),
            ViewItem::Tag(tag) => tags::delete(sql, repository, tag),
            ViewItem::Repository => Ok(false),
        },
        Import::Directory { path, stamp, problems } => {
            view_state::keep_stamp(sql, path, stamp)?;
            view_state::keep_problems(sql, path, problems)
        }
        Import::Vanished { path } => view_state::forget(sql, path),
    }
}

/// The item of the view that it is about.
fn item_of(found: &Import) -> Option<(&RepositoryName, ViewItem)> {
    match found {
        Import::Blob { repository, digest, .. } => Some((repository, ViewItem::Layer(*digest))),
        Import::Manifest { put, .. } => Some((&put.repository, ViewItem::Revision(put.manifest.digest))),
        Import::Tag { repository, tag, .. } => Some((repository, ViewItem::Tag(tag.clone()))),
        Import::Removed { repository, item } => Some((repository, item.clone())),
        Import::Directory { .. } | Import::Vanished { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::ViewItem;
    use super::super::fixtures::{by_tag, digest, empty, layer, manifest, name, notes, put, tag, tagged};
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
            Import::Tag { repository: name("app"), tag: tag("latest"), target: digest("m"), at: at() },
            Import::Tag { repository: name("app"), tag: tag("lost"), target: digest("lost"), at: at() },
        ];
        assert_eq!(metadata.import(found.clone()).await.unwrap(), [true, true, true, false]);
        assert_eq!(metadata.import(found).await.unwrap(), [false; 4]);
        assert!(metadata.manifest(&name("app"), &by_tag("latest")).await.unwrap().is_some());
        assert_eq!(metadata.blob(&name("app"), &digest("layer")).await.unwrap(), Some(100));
        assert_eq!(metadata.blob(&name("app"), &digest("lost")).await.unwrap(), None);
        assert_eq!(metadata.search(&Visible::Everything, "penguin", 0, 10).await.unwrap().total, 1);
        assert_eq!(notes(&metadata).await, []);
        let tags = metadata.tag_records(&name("app"), None, 9, true).await.unwrap().unwrap();
        assert_eq!(tags[0].updated_at, at());
        assert_eq!(metadata.repository(&name("app")).await.unwrap().unwrap().updated_at, at());
    }

    #[tokio::test]
    async fn import_leaves_items_whose_link_is_not_written_yet() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "one", &["a"])).await;
        notes(&metadata).await;
        put(&metadata, tagged("app", "two", &["a"])).await;
        let was = Import::Tag { repository: name("app"), tag: tag("a"), target: digest("one"), at: at() };
        let removed = Import::Removed { repository: name("app"), item: ViewItem::Tag(tag("a")) };
        assert_eq!(metadata.import(vec![was.clone(), removed.clone()]).await.unwrap(), [false, false]);
        notes(&metadata).await;
        assert_eq!(metadata.import(vec![was, removed]).await.unwrap(), [true, true]);
    }
}
