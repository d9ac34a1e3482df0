//! Scans of the visible repositories by name.

use oci::RepositoryName;

use super::columns;
use super::sql::{Row, Sql, params};
use crate::StoreError;
use accounts::{Selection, first_after};

/// The number of names that one statement reads at most. Rows are read on demand, so a scan that ends early
/// reads no more.
const BATCH: usize = 1_000;

/// The reason why a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanEnd {
    /// No repositories are left.
    Finished,
    /// The callback returned `false`.
    Stopped,
    /// The scan read its maximum of names.
    LimitReached,
}

/// Calls `visit` with the visible repositories with a manifest after `after`, until it returns `false` or
/// `most` names were read.
///
/// After an invisible name it seeks to the next name that a pattern allows. So it reads at most two names per
/// visit or seek, plus names that share the literal prefix of a wildcard pattern.
pub(super) fn walk(
    sql: Sql<'_>,
    visible: &Selection,
    after: &str,
    most: usize,
    mut visit: impl FnMut(i64, RepositoryName) -> Result<bool, StoreError>,
) -> Result<ScanEnd, StoreError> {
    walk_rows(sql, LISTED, visible, after, most, |row, _| visit(row.get(1)?, columns::text(row, 0)?))
}

/// As [`walk`], with the rows of a statement like [`LISTED`] that selects more columns, and names as text.
pub(super) fn walk_rows(
    sql: Sql<'_>,
    listed: &str,
    visible: &Selection,
    after: &str,
    most: usize,
    mut visit: impl FnMut(&Row<'_>, &str) -> Result<bool, StoreError>,
) -> Result<ScanEnd, StoreError> {
    // The last visible name, and the end of the names that are known to be visible.
    let (mut last, mut visible_until) = (String::new(), String::new());
    let mut from = if after.is_empty() { String::new() } else { first_after(after) };
    let mut left = most;
    while let Some(start) = visible.next(&from) {
        let mut read = 0;
        let mut ended = None;
        let mut goes_on = false;
        sql.each_while(listed, params![start, columns::limit_in(BATCH)], |row| {
            if left == 0 {
                ended = Some(ScanEnd::LimitReached);
                return Ok(false);
            }
            left -= 1;
            read += 1;
            let name = row.text(0)?;
            let is_known = name < visible_until.as_str();
            if is_known || visible.allows_text(name) {
                if !is_known && let Some(end) = visible.range_end(name) {
                    end.clone_into(&mut visible_until);
                }
                name.clone_into(&mut last);
                if !visit(row, name)? {
                    ended = Some(ScanEnd::Stopped);
                }
                return Ok(ended.is_none());
            }
            last.clear();
            let next = first_after(name);
            match visible.next(&next) {
                // The next row is the next candidate.
                Some(leap) if leap == next => {
                    from = next;
                    return Ok(true);
                }
                Some(leap) => {
                    from = leap;
                    goes_on = true;
                }
                None => ended = Some(ScanEnd::Finished),
            }
            Ok(false)
        })?;
        if !last.is_empty() {
            from = first_after(&last);
        }
        match ended {
            Some(ended) => return Ok(ended),
            None if !goes_on && read < BATCH => return Ok(ScanEnd::Finished),
            None => {}
        }
    }
    Ok(ScanEnd::Finished)
}

pub(super) fn names(
    sql: Sql<'_>,
    visible: &Selection,
    after: &str,
    limit: usize,
) -> Result<Vec<RepositoryName>, StoreError> {
    let mut names = Vec::new();
    if limit > 0 {
        walk(sql, visible, after, usize::MAX, |_, name| {
            names.push(name);
            Ok(names.len() < limit)
        })?;
    }
    Ok(names)
}

const LISTED: &str =
    "SELECT name, id FROM repositories WHERE manifests > 0 AND name >= ?1 ORDER BY name LIMIT ?2";

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::Metadata;
    use super::super::fixtures::{digest, empty, layer, manifest, name, plan, put};
    use super::*;
    use accounts::{Pattern, Visible};

    pub(in super::super) fn only(patterns: &[&str]) -> Visible {
        Visible::only(patterns.iter().map(|pattern| pattern.parse().unwrap()))
    }

    #[tokio::test]
    async fn names_with_a_common_prefix_are_distinct() {
        let (metadata, _directory) = empty();
        for repository in ["app", "app-x", "app/x", "app/x/y", "apple", "b"] {
            put(&metadata, manifest(repository, "m")).await;
        }
        for (patterns, visible) in [
            (&["app"][..], &["app"][..]),
            (&["app-x", "app/x"], &["app-x", "app/x"]),
            (&["app/**"], &["app/x", "app/x/y"]),
            (&["app/*"], &["app/x"]),
            (&["app*"], &["app", "app-x", "apple"]),
            (&["*"], &["app", "app-x", "apple", "b"]),
            (&["**/y", "b"], &["app/x/y", "b"]),
            (&[], &[]),
            (&["nothing", "app/z"], &[]),
        ] {
            let listed = metadata.catalog(&only(patterns), None, 10).await.unwrap();
            assert_eq!(
                listed,
                visible.iter().map(|visible| name(visible)).collect::<Vec<_>>(),
                "{patterns:?}"
            );
        }
        assert_eq!(metadata.catalog(&only(&["app/**"]), Some("app/x"), 9).await.unwrap(), [name("app/x/y")]);
        assert_eq!(metadata.catalog(&only(&["app/**"]), None, 0).await.unwrap(), []);
    }

    #[tokio::test]
    async fn scan_seeks_over_invisible_names() {
        let (metadata, _directory) = empty();
        let many = (0..3_000).map(|n| super::super::Import::Manifest {
            put: Box::new(manifest(&format!("x/app{n:04}"), "m")),
            at: std::time::SystemTime::now(),
        });
        metadata.import(many.collect(), true).await.unwrap();
        for repository in ["a/one", "y/two"] {
            put(&metadata, manifest(repository, "m")).await;
        }
        let walked = |visible: Visible, most: usize| {
            metadata.read(move |sql| {
                let Visible::Only(selection) = &visible else { panic!("it is everything") };
                let mut names = Vec::new();
                let walked = walk(sql, selection, "", most, |_, name| {
                    names.push(name.to_string());
                    Ok(true)
                })?;
                Ok((walked, names.join(" ")))
            })
        };
        let three = only(&["a/one", "x/app1500", "y/**"]);
        let found = "a/one x/app1500 y/two".to_owned();
        assert_eq!(walked(three, 7).await.unwrap(), (ScanEnd::Finished, found.clone()));
        let two_sided = only(&["**"; 0]).or(&only(&["a/*", "x/app1500", "y/*"])).and(&only(&["*/*"]));
        assert_eq!(walked(two_sided, 7).await.unwrap(), (ScanEnd::Finished, found));
        // A leading wildcard allows no seek.
        let two = only(&["**/two"]);
        assert_eq!(walked(two.clone(), 3_001).await.unwrap(), (ScanEnd::LimitReached, String::new()));
        assert_eq!(walked(two, 3_002).await.unwrap(), (ScanEnd::Finished, "y/two".to_owned()));
    }

    #[tokio::test]
    async fn scan_reads_names_from_an_index() {
        assert_eq!(
            plan(LISTED, 2).await,
            ["SEARCH repositories USING COVERING INDEX repositories_listed (name>?)"]
        );
    }

    #[tokio::test]
    async fn invisible_content_shows_nowhere() {
        let (metadata, _directory) = empty();
        for (repository, own) in [("a", "only a"), ("b", "only b"), ("c", "only c")] {
            metadata.link_blob(&name(repository), &digest("shared"), 1_000).await.unwrap();
            metadata.link_blob(&name(repository), &digest(own), 100).await.unwrap();
            let mut image = manifest(repository, &format!("image with {own}"));
            image.parts = vec![layer("shared"), layer(own)];
            put(&metadata, image).await;
        }
        let (a, both) = (only(&["a"]), only(&["a", "b"]));
        let usage = metadata.usage(&a).await.unwrap();
        assert_eq!((usage.repositories, usage.blobs, usage.bytes), (1, 3, 1_110));
        assert_eq!(metadata.usage(&both).await.unwrap().bytes, 1_220);
        let own = async |visible: &Visible| {
            let usages = metadata.repository_usage(visible, None, 10).await.unwrap();
            usages.iter().map(|usage| (usage.bytes, usage.own_bytes)).collect::<Vec<_>>()
        };
        assert_eq!(own(&a).await, [(1_110, 1_110)], "as if nobody else had it");
        assert_eq!(own(&both).await, [(1_110, 110), (1_110, 110)]);
        assert_eq!(own(&Visible::Everything).await, [(1_110, 110); 3]);
        assert_eq!(own(&Visible::nothing()).await, []);
        assert_eq!(metadata.repositories(&both, Some("a"), 10).await.unwrap().len(), 1);

        let source = async |visible: &Visible| {
            metadata.visible_source(&digest("only c"), visible.clone()).await.unwrap()
        };
        assert_eq!(source(&both).await, None);
        assert_eq!(source(&only(&["c"])).await, Some(name("c")));
        metadata.link_blob(&name("a"), &digest("only c"), 100).await.unwrap();
        assert_eq!(source(&both).await, Some(name("a")), "now it is in a, which is visible");
    }

    async fn pages(metadata: &Metadata, visible: &Visible, size: usize) -> Vec<RepositoryName> {
        let mut all: Vec<RepositoryName> = Vec::new();
        loop {
            let page = metadata.catalog(visible, all.last().map(RepositoryName::as_str), size).await.unwrap();
            let is_last = page.len() < size;
            all.extend(page);
            if is_last {
                return all;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn restricted_lists_equal_filtered_full_lists(
            repositories in prop::collection::btree_set("(app|ap|b)(-x|-y)?(/x|/app|/y-x){0,2}", 1..25),
            patterns in prop::collection::vec(
                (r"(app|ap|b|\*|\*\*)(-x|\*|\?x)?(/x|/\*|/\*\*|/app|/y-\*){0,2}", 0..8_usize), 0..6),
            size in 1..5_usize,
            query in "(a|app|x|y|b|ap x|app/x|x image|image|)",
        ) {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let (metadata, _directory) = empty();
                for repository in &repositories {
                    let description = Some(format!("image of {}", repository.len()));
                    let image = super::super::PutManifest { description, ..manifest(repository, "m") };
                    put(&metadata, image).await;
                }
                let patterns: Vec<Pattern> =
                    patterns.iter().filter_map(|(text, _)| text.parse().ok()).collect();
                let visible = Visible::only(patterns.clone());
                let matches = |name: &RepositoryName| patterns.iter().any(|pattern| pattern.matches(name));
                let everything: Vec<RepositoryName> = repositories.iter().map(|text| name(text)).collect();
                let expected: Vec<RepositoryName> = everything.into_iter().filter(matches).collect();
                assert_eq!(pages(&metadata, &visible, size).await, expected);
                let records = metadata.repositories(&visible, None, 100).await.unwrap();
                assert_eq!(records.into_iter().map(|record| record.name).collect::<Vec<_>>(), expected);
                let usages = metadata.repository_usage(&visible, None, 100).await.unwrap();
                assert_eq!(usages.into_iter().map(|usage| usage.name).collect::<Vec<_>>(), expected);
                assert_eq!(metadata.usage(&visible).await.unwrap().repositories, expected.len() as u64);

                let all = metadata.search(&Visible::Everything, &query, 0, 100).await.unwrap();
                let mut hits = all.hits;
                hits.retain(|hit| matches(&hit.name));
                let found = metadata.search(&visible, &query, 0, 100).await.unwrap();
                assert_eq!((found.total, &found.hits), (hits.len() as u64, &hits), "{query:?}");
                let page = metadata.search(&visible, &query, 1, size).await.unwrap();
                let expected: Vec<_> = hits.iter().skip(1).take(size).cloned().collect();
                assert_eq!((page.total, page.hits), (hits.len() as u64, expected), "{query:?}");
            });
        }
    }
}
