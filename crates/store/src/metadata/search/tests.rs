//! Tests of the search.

use proptest::prelude::*;

use super::super::fixtures::{digest, empty, manifest, name, put};
use super::super::{Metadata, PutManifest, SEARCH_WINDOW};
use super::scan::CANDIDATES;
use accounts::Visible;

async fn with(metadata: &Metadata, repository: &str, description: &str) {
    let description = Some(description.to_owned());
    put(metadata, PutManifest { description, ..manifest(repository, "m") }).await;
}

async fn names(metadata: &Metadata, query: &str) -> Vec<String> {
    let page = metadata.search(&Visible::Everything, query, 0, 100).await.unwrap();
    assert_eq!(page.total, page.hits.len() as u64);
    page.hits.into_iter().map(|hit| hit.name.to_string()).collect()
}

#[tokio::test]
async fn search_orders_best_first() {
    let (metadata, _directory) = empty();
    with(&metadata, "tools/builder", "Builds ubuntu images").await;
    with(&metadata, "team/xubuntu", "").await;
    with(&metadata, "team/ubuntuish", "").await;
    with(&metadata, "ubuntu-base/debootstrap", "").await;
    with(&metadata, "official/ubuntu", "The distribution").await;
    with(&metadata, "my/ubuntu", "").await;
    with(&metadata, "ubuntu", "").await;
    with(&metadata, "debian", "Not what is looked for").await;
    assert_eq!(
        names(&metadata, "ubuntu").await,
        [
            "ubuntu",
            "my/ubuntu",
            "official/ubuntu",
            "ubuntu-base/debootstrap",
            "team/ubuntuish",
            "team/xubuntu",
            "tools/builder",
        ]
    );
    let page = metadata.search(&Visible::Everything, "ubuntu", 2, 2).await.unwrap();
    assert_eq!(page.total, 7);
    assert_eq!(page.hits[0].name, name("official/ubuntu"));
    assert_eq!(page.hits[0].description, "The distribution");
    assert_eq!(page.hits.len(), 2);
    assert_eq!(metadata.search(&Visible::Everything, "ubuntu", 7, 10).await.unwrap().hits, []);
    assert_eq!(
        metadata.search(&Visible::Everything, "ubuntu", usize::MAX, usize::MAX).await.unwrap().total,
        7
    );
}

#[tokio::test]
async fn search_matches_parts_of_words_in_any_case() {
    let (metadata, _directory) = empty();
    with(&metadata, "team/web_server.v2-edge", "Größe ÄRGER naïve 日本語の画像").await;
    for query in [
        "server",
        "SERVER",
        "erve",
        "v",
        "v2",
        "2",
        "edge",
        "dge",
        "web_server.v2-edge",
        "server.v2",
        "web",
        "team/web",
        "größe",
        "GRÖSSE und"[..6].trim(),
        "ärger",
        "rger",
        "naïve",
        "日本",
        "画像",
        " team  ",
        "edge server",
        "naïve server",
        "team ärger 画像",
        "\"server\"",
        "team:edge",
    ] {
        // Upper case turns ß into SS, which does not match.
        let expected = usize::from(!query.contains("GRÖ"));
        assert_eq!(names(&metadata, query).await.len(), expected, "{query}");
    }
    for query in ["serverx", "xserver", "edge nowhere", "team/webs", "ver2"] {
        assert_eq!(names(&metadata, query).await, [""; 0], "{query}");
    }
}

#[tokio::test]
async fn search_ranks_several_words() {
    let (metadata, _directory) = empty();
    with(&metadata, "one/app", "The server of the team").await;
    with(&metadata, "team/xapp-server", "").await;
    with(&metadata, "team/app-server-x", "").await;
    with(&metadata, "other/app-server", "").await;
    with(&metadata, "app-server", "").await;
    assert_eq!(
        names(&metadata, "app-server").await,
        ["app-server", "other/app-server", "team/app-server-x", "team/xapp-server", "one/app"]
    );
    assert_eq!(names(&metadata, "server team").await, ["team/xapp-server", "team/app-server-x", "one/app"]);
}

#[tokio::test]
async fn empty_query_lists_repositories_by_name() {
    let (metadata, _directory) = empty();
    with(&metadata, "b", "").await;
    with(&metadata, "a/x", "").await;
    with(&metadata, "a", "").await;
    metadata.link_blob(&name("c"), &digest("layer"), 1).await.unwrap();
    assert_eq!(names(&metadata, "").await, ["a", "a/x", "b"]);
    assert_eq!(names(&metadata, "  \t").await, ["a", "a/x", "b"]);
    assert_eq!(names(&metadata, "c").await, [""; 0]);
    assert_eq!(metadata.search(&Visible::Everything, "", 1, 1).await.unwrap().hits[0].name, name("a/x"));
}

#[tokio::test]
async fn index_follows_pushes_and_deletions() {
    let (metadata, _directory) = empty();
    with(&metadata, "app", "first words").await;
    with(&metadata, "other", "first impressions").await;
    metadata.set_description(&name("app"), "second words".into()).await.unwrap();
    assert_eq!(names(&metadata, "first").await, ["other"]);
    assert_eq!(names(&metadata, "second").await, ["app"]);
    assert_eq!(names(&metadata, "words").await, ["app"]);

    // With a blob left, the repository stays but is not found until the next manifest.
    metadata.link_blob(&name("app"), &digest("layer"), 1).await.unwrap();
    metadata.delete_manifest(&name("app"), &digest("m")).await.unwrap();
    for query in ["app", "second", "word", ""] {
        assert!(!names(&metadata, query).await.contains(&"app".to_owned()), "{query}");
    }
    put(&metadata, manifest("app", "m")).await;
    assert_eq!(names(&metadata, "second").await, ["app"]);

    metadata.delete_repository(&name("app")).await.unwrap();
    metadata.delete_manifest(&name("other"), &digest("m")).await.unwrap();
    let left = metadata
        .read(|sql| {
            sql.first(
                "SELECT (SELECT COUNT(*) FROM search_words) + (SELECT COUNT(*) FROM search_suffixes)
                      + (SELECT COUNT(*) FROM search_postings)",
                &[],
                |row| row.get::<i64>(0),
            )
        })
        .await
        .unwrap();
    assert_eq!(left, Some(0), "nothing is left of what nobody holds");
}

#[tokio::test]
async fn hostile_queries_find_nothing() {
    let (metadata, _directory) = empty();
    with(&metadata, "app", "an image").await;
    let long = "x".repeat(10_000);
    let many = "app ".repeat(3_000);
    let queries = [
        "\"",
        "'",
        "\"\"",
        "';DROP TABLE repositories;--",
        "*",
        "%",
        "_",
        "app*x",
        "NEAR(",
        "\0",
        "x\0y",
        "-",
        "\u{1F600}",
        "\u{10FFFF}",
        "\u{0301}",
        "(",
        "AND",
        "app OR",
        "name:x",
        "^app^x",
        "{}",
        "\\",
        &long,
    ];
    for query in queries {
        assert_eq!(metadata.search(&Visible::Everything, query, 0, 10).await.unwrap().total, 0, "{query:?}");
    }
    for query in ["app*", "\"app\"", "app\0", "%app%", "\u{1F600}app", &many] {
        assert_eq!(metadata.search(&Visible::Everything, query, 0, 10).await.unwrap().total, 1, "{query:?}");
    }
    let long_word = format!("{}b", "a".repeat(200));
    with(&metadata, &long_word, "").await;
    assert_eq!(names(&metadata, &long_word).await, [long_word.as_str()]);
    assert_eq!(names(&metadata, &"a".repeat(150)).await, [long_word.as_str()]);
    assert_eq!(names(&metadata, &"a".repeat(202)).await, [""; 0]);
}

#[tokio::test]
async fn search_counts_up_to_its_window() {
    let (metadata, _directory) = empty();
    let many = (0..SEARCH_WINDOW + 50).map(|n| super::super::Import::Manifest {
        put: Box::new(manifest(&format!("common/x{n}-{}", n % 7), "m")),
        at: std::time::SystemTime::now(),
    });
    metadata.import(many.collect(), true).await.unwrap();
    with(&metadata, "late/common", "").await;
    for query in ["common", "ommo", "c", ""] {
        let page = metadata.search(&Visible::Everything, query, 0, 5).await.unwrap();
        assert_eq!(page.total, SEARCH_WINDOW as u64, "{query}");
    }
    // Only a limited number of repositories is compared with several frequent words.
    let page = metadata.search(&Visible::Everything, "common/x", 0, 5).await.unwrap();
    assert!((500..=CANDIDATES as u64).contains(&page.total), "{}", page.total);
    assert_eq!(
        metadata.search(&Visible::Everything, "common", 0, 1).await.unwrap().hits[0].name,
        name("late/common")
    );
    assert_eq!(names(&metadata, "common x77").await.len(), 11);
    assert_eq!(metadata.search(&Visible::Everything, "", SEARCH_WINDOW, 10).await.unwrap().hits, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A search finds exactly the repositories that contain every word.
    #[test]
    fn search_finds_names_with_every_word(
        repositories in prop::collection::btree_map("[ab]{1,3}([/._-][abc]{1,3}){0,2}", "[abcB ,.ä]{0,12}", 1..12),
        queries in prop::collection::vec("[abcAä /-]{1,6}", 1..12),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (metadata, _directory) = empty();
            for (repository, description) in &repositories {
                with(&metadata, repository, description).await;
            }
            for query in &queries {
                let lower = query.to_lowercase();
                let words: Vec<&str> = super::query::words(&lower).collect();
                if words.is_empty() {
                    continue;
                }
                let expected: Vec<&String> = repositories
                    .iter()
                    .filter(|(name, text)| {
                        let text = text.to_lowercase();
                        words.iter().all(|word| name.contains(word) || text.contains(word))
                    })
                    .map(|(name, _)| name)
                    .collect();
                let mut found = names(&metadata, query).await;
                found.sort();
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?}");
            }
        });
    }
}
