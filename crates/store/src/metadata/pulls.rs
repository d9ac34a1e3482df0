//! Pull counts: the number of pulls and the last pull of each tag and manifest, written in batches.

use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};

use super::rows::{manifests, repositories};
use super::sql::params;
use super::writer::{Durability, OnFull};
use super::{Metadata, columns};
use crate::StoreError;

/// Pulls of one manifest through the same tag, or by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullCount {
    /// The repository of the pull.
    pub repository: RepositoryName,
    /// `None` for pulls by digest.
    pub tag: Option<Tag>,
    /// The pulled manifest.
    pub digest: Digest,
    /// Their number.
    pub pulls: u64,
    /// The time of the last one.
    pub pulled_at: SystemTime,
}

impl Metadata {
    /// Adds pulls to those recorded. Skips tags and manifests that were deleted meanwhile.
    pub async fn add_pulls(&self, counts: Vec<PullCount>) -> Result<(), StoreError> {
        self.run_anywhere(Durability::Disk, OnFull::UseBallast, move |sql| {
            for count in &counts {
                let Some(id) = repositories::find(sql, &count.repository)? else { continue };
                let (pulls, pulled_at) = (columns::count_in(count.pulls)?, columns::time_in(count.pulled_at));
                sql.run("UPDATE repositories SET pulls = pulls + ?2 WHERE id = ?1", params![id, pulls])?;
                if let Some(tag) = &count.tag {
                    sql.run(
                        "UPDATE tags SET pulls = pulls + ?3, pulled_at = MAX(COALESCE(pulled_at, 0), ?4)
                         WHERE repository = ?1 AND name = ?2",
                        params![id, tag.as_str(), pulls, pulled_at],
                    )?;
                }
                if let Some((blob, _)) = manifests::find(sql, id, &count.digest)? {
                    sql.run(
                        "UPDATE manifests SET pulls = pulls + ?3, pulled_at = MAX(COALESCE(pulled_at, 0), ?4)
                         WHERE repository = ?1 AND blob = ?2",
                        params![id, blob, pulls, pulled_at],
                    )?;
                }
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use oci::TagOrDigest;

    use super::super::fixtures::{by_tag, digest, empty, name, put, tag, tagged};
    use super::PullCount;

    #[tokio::test]
    async fn pulls_add_up_and_survive_a_moved_tag() {
        let (metadata, _directory) = empty();
        put(&metadata, tagged("app", "one", &["latest"])).await;
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let count = |by: Option<&str>, content: &str, pulls, seconds| PullCount {
            repository: name("app"),
            tag: by.map(tag),
            digest: digest(content),
            pulls,
            pulled_at: at(seconds),
        };
        let gone = PullCount { repository: name("gone"), ..count(None, "one", 1, 1) };
        let counts = vec![
            count(Some("latest"), "one", 3, 200),
            count(None, "one", 2, 100),
            count(Some("gone"), "gone", 1, 9),
            gone,
        ];
        metadata.add_pulls(counts).await.unwrap();
        put(&metadata, tagged("app", "two", &["latest"])).await;
        metadata.add_pulls(vec![count(Some("latest"), "two", 1, 150)]).await.unwrap();

        let tags = metadata.tag_records(&name("app"), None, 9, false).await.unwrap().unwrap();
        assert_eq!(
            (tags[0].pulls, tags[0].pulled_at),
            (4, Some(at(200))),
            "a clock set back changes nothing"
        );
        let repository = metadata.repository(&name("app")).await.unwrap().unwrap();
        assert_eq!(repository.pulls, 7, "also pulls of what is gone by now");
        let one = TagOrDigest::Digest(digest("one"));
        let one = metadata.manifest_details(&name("app"), &one).await.unwrap().unwrap();
        assert_eq!((one.pulls, one.pulled_at, one.tags.len()), (5, Some(at(200)), 0));
        let two = metadata.manifest_details(&name("app"), &by_tag("latest")).await.unwrap().unwrap();
        assert_eq!((two.pulls, two.tags), (1, vec![tag("latest")]));
    }
}
