//! Tags: names that point to manifests of their repository.

use oci::{Digest, RepositoryName, Tag};

use super::rows::manifests;
use super::rows::outbox::append;
use super::rows::quotas::within;
use super::rows::repositories::{find, touch};
use super::rows::tags::{Target, delete, is_cosign_tag, point};
use super::sql::{Row, params};
use super::writer::Durability;
use super::{Metadata, TagRecord, TagRefusal, columns};
use crate::StoreError;

/// The selection and the order of a list of tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagSearch {
    /// A part of the names. Empty for all tags.
    pub contains: String,
    /// Whether the list has fallback tags too.
    pub include_hidden: bool,
    /// The last push first, instead of the order of the names.
    pub by_push: bool,
}

/// The result of the deletion of one of several tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagDeletion {
    /// It is deleted. It pointed to this manifest.
    Deleted(Digest),
    /// It was not there.
    Absent,
    /// A rule keeps it.
    Refused(TagRefusal),
}

/// A position in such a list: the time of the push in milliseconds since 1970, and the name.
pub type TagPosition = (i64, String);

impl TagRecord {
    /// Returns the position of the tag in a list.
    #[must_use]
    pub fn position(&self) -> TagPosition {
        (columns::time_in(self.updated_at), self.tag.to_string())
    }
}

impl Metadata {
    /// Returns the tags of a repository in the order of their bytes, after `after`, without referrers
    /// fallback tags; `None` if the repository does not exist.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Vec<Tag>>, StoreError> {
        let (repository, after) = (repository.clone(), after.unwrap_or_default().to_owned());
        self.read(move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(None) };
            let tags =
                sql.all(LISTED, params![id, after, columns::limit_in(limit)], |row| columns::text(row, 0))?;
            Ok(Some(tags))
        })
        .await
    }

    /// Returns the tags of a repository with their manifests, in the order of their bytes, after `after`;
    /// `None` if the repository does not exist.
    pub async fn tag_records(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
        include_hidden: bool,
    ) -> Result<Option<Vec<TagRecord>>, StoreError> {
        let search = TagSearch { include_hidden, ..TagSearch::default() };
        self.find_tags(repository, search, after.map(|after| (0, after.to_owned())), limit).await
    }

    /// As [`tag_records`](Self::tag_records), for a selection and an order. The order by push reads all tags
    /// of the repository.
    pub async fn find_tags(
        &self,
        repository: &RepositoryName,
        search: TagSearch,
        after: Option<TagPosition>,
        limit: usize,
    ) -> Result<Option<Vec<TagRecord>>, StoreError> {
        let repository = repository.clone();
        let (at, name) = after.unwrap_or((i64::MAX, String::new()));
        self.read(move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(None) };
            let (limit, hidden) = (columns::limit_in(limit), i64::from(search.include_hidden));
            let records = if search.by_push {
                sql.all(BY_PUSH, params![id, name, limit, hidden, search.contains, at], record)?
            } else {
                sql.all(BY_NAME, params![id, name, limit, hidden, search.contains], record)?
            };
            Ok(Some(records))
        })
        .await
    }

    /// Points a tag to a manifest of the repository. Returns `false` and changes nothing if the manifest is
    /// not there.
    pub async fn put_tag(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        tag: &Tag,
    ) -> Result<bool, StoreError> {
        let (repository, digest, tag) = (repository.clone(), *digest, tag.clone());
        self.write(Durability::Disk, move |sql| {
            let Some(id) = find(sql, &repository)? else { return Ok(false) };
            let Some((blob, is_index)) = manifests::find(sql, id, &digest)? else { return Ok(false) };
            let now = columns::now();
            let target = Target { digest: &digest, blob, is_index };
            let moved = within(sql, &repository, || point(sql, (id, &repository), &tag, target, now))?;
            if let Some(moved) = moved {
                append(sql, moved.for_view(true))?;
            }
            touch(sql, id, now)?;
            Ok(true)
        })
        .await
    }

    /// Deletes a tag but not its manifest. Returns `false` if it was not there.
    pub async fn delete_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<bool, StoreError> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.free(Durability::Disk, move |sql| Ok(delete(sql, &repository, &tag)?.is_some())).await
    }

    /// Deletes tags in one transaction, but not their manifests. A tag that a rule keeps does not keep the
    /// others. Returns the result of each; `None` if the repository does not exist.
    pub async fn delete_tags(
        &self,
        repository: &RepositoryName,
        tags: Vec<Tag>,
    ) -> Result<Option<Vec<(Tag, TagDeletion)>>, StoreError> {
        let repository = repository.clone();
        self.free(Durability::Disk, move |sql| {
            if find(sql, &repository)?.is_none() {
                return Ok(None);
            }
            let one = |tag: &Tag| match delete(sql, &repository, tag) {
                Ok(Some(digest)) => Ok(TagDeletion::Deleted(digest)),
                Ok(None) => Ok(TagDeletion::Absent),
                // The rules are asked before the first change.
                Err(StoreError::TagRefused(refused)) => Ok(TagDeletion::Refused(refused.2)),
                Err(error) => Err(error),
            };
            tags.iter().map(|tag| Ok((tag.clone(), one(tag)?))).collect::<Result<_, _>>().map(Some)
        })
        .await
    }
}

const LISTED: &str =
    "SELECT name FROM tags WHERE repository = ?1 AND hidden = 0 AND name > ?2 ORDER BY name LIMIT ?3";

macro_rules! records {
    ($rest:literal) => {
        concat!(
            "SELECT t.name, t.updated_at, b.digest, m.media_type, COALESCE(b.size, 0), t.pulls, t.pulled_at
             FROM tags t
             JOIN manifests m ON m.repository = t.repository AND m.blob = t.blob
             JOIN blobs b ON b.id = t.blob
             WHERE t.repository = ?1 AND t.hidden <= ?4 AND (?4 = 1 OR NOT ",
            is_cosign_tag!(),
            // `INSTR` of SQLite and `STRPOS` of PostgreSQL have no common name.
            ") AND (?5 = '' OR REPLACE(t.name, ?5, '') <> t.name) AND ",
            $rest
        )
    };
}

const BY_NAME: &str = records!("t.name > ?2 ORDER BY t.name LIMIT ?3");
const BY_PUSH: &str = records!(
    "(t.updated_at < ?6 OR (t.updated_at = ?6 AND t.name > ?2)) ORDER BY t.updated_at DESC, t.name LIMIT ?3"
);

fn record(row: &Row<'_>) -> Result<TagRecord, StoreError> {
    Ok(TagRecord {
        tag: columns::text(row, 0)?,
        updated_at: columns::time(row, 1)?,
        manifest: columns::manifest(row, 2)?,
        pulls: columns::count(row, 5)?,
        pulled_at: columns::time_or_null(row, 6)?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::{Duration, SystemTime};

    use oci::{CosignKind, Tag};
    use proptest::prelude::*;

    use super::super::fixtures::{
        acknowledged_items, by_tag, digest, empty, manifest, name, plan, put, tag, tagged,
    };
    use super::super::{PutManifest, ViewItem};
    use accounts::Visible;

    #[tokio::test]
    async fn tag_deletion_keeps_the_manifest() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "m", &["a", "b"])).await;
        acknowledged_items(&metadata).await;
        assert!(metadata.delete_tag(&name("app"), &tag("a")).await.unwrap());
        assert!(!metadata.delete_tag(&name("app"), &tag("a")).await.unwrap());
        assert_eq!(acknowledged_items(&metadata).await, [ViewItem::Tag(tag("a"))]);
        assert!(metadata.manifest(&name("app"), &by_tag("b")).await.unwrap().is_some());
        assert!(metadata.delete_tag(&name("app"), &tag("b")).await.unwrap());
        assert_eq!(metadata.manifests(&name("app"), None, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn tag_needs_an_existing_manifest() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        assert!(metadata.put_tag(&name("app"), &digest("m"), &tag("x")).await.unwrap());
        assert!(!metadata.put_tag(&name("app"), &digest("absent"), &tag("x")).await.unwrap());
        assert!(!metadata.put_tag(&name("absent"), &digest("m"), &tag("x")).await.unwrap());
        let records = metadata.tag_records(&name("app"), None, 10, false).await.unwrap().unwrap();
        assert_eq!(records[0].manifest.digest, digest("m"));
    }

    #[tokio::test]
    async fn tags_are_found_by_push_and_by_a_part_of_the_name() {
        let (metadata, _directory) = empty();
        let now = SystemTime::now();
        // Two pushes have the same time.
        for (name, seconds) in [("v1", 1), ("nightly", 4), ("v1-debug", 3), ("v2", 3), ("a_b", 2)] {
            let put = Box::new(tagged("app", "m", &[name]));
            let at = now + Duration::from_secs(seconds);
            metadata.import(vec![super::super::Import::Manifest { put, at }], true).await.unwrap();
        }
        let find = async |contains: &str, by_push: bool, size: usize| {
            let search = super::TagSearch { contains: contains.to_owned(), by_push, ..Default::default() };
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page =
                    metadata.find_tags(&name("app"), search.clone(), after, size).await.unwrap().unwrap();
                let Some(last) = page.last() else { return found.join(" ") };
                after = Some(last.position());
                found.extend(page.into_iter().map(|record| record.tag.to_string()));
            }
        };
        for size in [1, 2, 9] {
            assert_eq!(find("", true, size).await, "nightly v1-debug v2 a_b v1");
            assert_eq!(find("", false, size).await, "a_b nightly v1 v1-debug v2");
            assert_eq!(find("v1", true, size).await, "v1-debug v1");
            assert_eq!(find("_", false, size).await, "a_b");
            assert_eq!(find("V1", false, size).await, "");
        }
    }

    #[tokio::test]
    async fn unknown_repository_has_no_tag_list() {
        let (metadata, _directory) = empty();
        put(&metadata, manifest("app", "m")).await;
        assert_eq!(metadata.tags(&name("app"), None, 10).await.unwrap(), Some(Vec::new()));
        assert_eq!(metadata.tags(&name("ap"), None, 10).await.unwrap(), None);
        assert_eq!(metadata.tag_records(&name("ap"), None, 10, true).await.unwrap(), None);
    }

    #[tokio::test]
    async fn fallback_tag_is_pulled_but_not_listed() {
        let (metadata, _directory) = empty();
        let fallback = digest("subject").referrers_tag();
        let signature = format!("{fallback}.sig");
        put(&metadata, PutManifest { is_index: true, ..tagged("app", "index", &[&fallback, "v1"]) }).await;
        put(&metadata, tagged("app", "image", &[&signature])).await;

        let listed = metadata.tags(&name("app"), None, 10).await.unwrap().unwrap();
        assert_eq!(listed, [tag(&signature), tag("v1")]);
        assert!(metadata.manifest(&name("app"), &by_tag(&fallback)).await.unwrap().is_some());
        assert_eq!(metadata.tag_records(&name("app"), None, 10, true).await.unwrap().unwrap().len(), 3);
        let shown = metadata.tag_records(&name("app"), None, 10, false).await.unwrap().unwrap();
        assert_eq!(shown.into_iter().map(|record| record.tag).collect::<Vec<_>>(), [tag("v1")]);
        assert_eq!(metadata.repository(&name("app")).await.unwrap().unwrap().tags, 1);

        // The same spelling on an image is an ordinary tag.
        put(&metadata, tagged("app", "image", &[&fallback])).await;
        assert_eq!(metadata.tags(&name("app"), None, 10).await.unwrap().unwrap().len(), 3);
    }

    /// The condition in SQL knows the tags that `CosignKind` knows.
    #[tokio::test]
    async fn tags_of_cosign_are_no_tags_for_people() {
        let (metadata, _directory) = empty();
        let subject = digest("subject");
        let cosign = CosignKind::ALL.map(|kind| kind.tag_of(&subject).unwrap());
        let hex = subject.hex();
        let others = [
            format!("sha256-{}.sig", hex.to_uppercase()),
            format!("sha256-{}.sig", &hex[1..]),
            format!("sha256-{hex}.sigs"),
            format!("sha256-{}g.sig", &hex[1..]),
            format!("sha512-{hex}.sig"),
            "v1.sig".to_owned(),
        ];
        for tag in cosign.iter().map(Tag::as_str).chain(others.iter().map(String::as_str)) {
            put(&metadata, tagged("app", tag, &[tag])).await;
        }
        let shown = metadata.tag_records(&name("app"), None, 99, false).await.unwrap().unwrap();
        let mut expected: Vec<Tag> = others.iter().map(|other| tag(other)).collect();
        expected.sort();
        assert_eq!(shown.into_iter().map(|record| record.tag).collect::<Vec<_>>(), expected);
        assert_eq!(metadata.repository(&name("app")).await.unwrap().unwrap().tags, others.len() as u64);
        // Clients of the protocol see all of them.
        assert_eq!(metadata.tags(&name("app"), None, 99).await.unwrap().unwrap().len(), others.len() + 3);
    }

    #[tokio::test]
    async fn page_is_a_range_of_an_index() {
        assert_eq!(
            plan(super::LISTED, 3).await,
            ["SEARCH tags USING COVERING INDEX tags_listed (repository=? AND hidden=? AND name>?)"]
        );
    }

    /// Tags that are prefixes of others, with characters whose order differs between collations.
    fn some_tag() -> impl Strategy<Value = String> {
        "[aA_1][aA_.1-]{0,3}"
    }

    /// Names that are prefixes of others: `app`, `app-x`, `app/x`.
    fn some_name() -> impl Strategy<Value = String> {
        "app(-x|/x|\\.x|_x|0|x){0,2}"
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Pages equal those of a sorted set after any sequence of changes.
        #[test]
        fn tags_are_listed_like_a_sorted_set(
            changes in prop::collection::vec((some_name(), some_tag(), prop::bool::weighted(0.8)), 1..60),
            page in 1_usize..5,
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let (metadata, _directory) = empty();
                let mut model: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
                for (repository, tag_name, is_put) in &changes {
                    if *is_put {
                        put(&metadata, tagged(repository, "m", &[tag_name])).await;
                        model.entry(repository.clone()).or_default().insert(tag_name.clone());
                    } else {
                        let deleted = metadata.delete_tag(&name(repository), &tag(tag_name)).await.unwrap();
                        let expected = model.get_mut(repository).is_some_and(|tags| tags.remove(tag_name));
                        assert_eq!(deleted, expected);
                    }
                }
                for (repository, expected) in &model {
                    let mut listed: Vec<String> = Vec::new();
                    loop {
                        let after = listed.last().map(String::as_str);
                        let next = metadata.tags(&name(repository), after, page).await.unwrap().unwrap();
                        if next.is_empty() {
                            break;
                        }
                        listed.extend(next.iter().map(ToString::to_string));
                    }
                    assert_eq!(&listed, &expected.iter().cloned().collect::<Vec<_>>());
                }
                let mut catalog: Vec<String> = Vec::new();
                loop {
                    let next =
                        metadata.catalog(&Visible::Everything, catalog.last().map(String::as_str), page).await.unwrap();
                    if next.is_empty() {
                        break;
                    }
                    catalog.extend(next.iter().map(ToString::to_string));
                }
                assert_eq!(catalog, model.keys().cloned().collect::<Vec<_>>());
            });
        }
    }
}
