//! `/v2/<name>/tags/list`.

use oci::Algorithm;

use crate::harness::{Image, OCI_INDEX, OCI_MANIFEST, Repository, TestRegistry, index_manifest};

async fn tag_all(app: &Repository<'_>, image: &Image, tags: &[&str]) {
    for tag in tags {
        app.put_manifest_as(tag, OCI_MANIFEST, image.manifest.clone()).await.is(201);
    }
}

#[tokio::test]
async fn tags_are_sorted_by_bytes() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("team/app");
    let image = app.push_image("b").await;
    tag_all(&app, &image, &["a", "B", "_x", "1.10", "1.9", "1", "latest"]).await;
    let expected = ["1", "1.10", "1.9", "B", "_x", "a", "b", "latest"];
    let answer = app.get("tags/list").await.is(200).has("content-type", "application/json").has_no("link");
    assert_eq!(answer.list("tags"), expected);
    assert_eq!(answer.json()["name"], "team/app");
}

#[tokio::test]
async fn tags_page_has_n_entries_and_a_link() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("t0").await;
    tag_all(&app, &image, &["t1", "t2", "t3", "t4"]).await;
    let first = app.get("tags/list?n=2").await.is(200);
    assert_eq!(first.list("tags"), ["t0", "t1"]);
    assert_eq!(first.header("link"), Some("</v2/app/tags/list?n=2&last=t1>; rel=\"next\""));
    let second = registry.get(first.next_page().unwrap()).await.is(200);
    assert_eq!(second.list("tags"), ["t2", "t3"]);
    let third = registry.get(second.next_page().unwrap()).await.is(200).has_no("link");
    assert_eq!(third.list("tags"), ["t4"]);
    // A page that ends with the last tag has no link.
    app.get("tags/list?n=5").await.is(200).has_no("link");
    app.get("tags/list?n=1&last=t3").await.is(200).has_no("link");
}

#[tokio::test]
async fn tags_last_may_name_an_absent_tag() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("b").await;
    tag_all(&app, &image, &["d", "f"]).await;
    for (last, expected) in [
        ("a", &["b", "d", "f"][..]),
        ("b", &["d", "f"]),
        ("c", &["d", "f"]),
        ("f", &[]),
        // Bytes that are no tag sort like any other bytes.
        ("%ff%00'\";--", &[]),
        ("%00'\";--", &["b", "d", "f"]),
    ] {
        let listed = app.get(format_args!("tags/list?last={last}")).await.is(200).list("tags");
        assert_eq!(listed, expected, "{last}");
    }
}

#[tokio::test]
async fn list_page_size_is_bounded_and_checked() {
    let registry = TestRegistry::start_with(|config| config.limits.page_entries = 3).await;
    let app = registry.repository("app");
    let image = app.push_image("t0").await;
    tag_all(&app, &image, &["t1", "t2", "t3", "t4"]).await;
    app.get("tags/list?n=0").await.is(200).has_no("link").carries("{\"name\":\"app\",\"tags\":[]}");
    for n in ["", "&n=4", "&n=3", "&n=1000000000", "&n=99999999999999999999999999"] {
        let answer = app.get(format_args!("tags/list?x{n}")).await.is(200);
        assert_eq!(answer.list("tags").len(), 3, "{n}");
        assert!(answer.next_page().is_some());
    }
    for n in ["-1", "x", "", "1.5", "0x10", "1e3", "%31%00"] {
        app.get(format_args!("tags/list?n={n}")).await.fails(400, "UNSUPPORTED");
    }
    assert_eq!(app.tags().await.len(), 5, "following the links shows all of them");
}

#[tokio::test]
async fn tags_of_absent_repository_are_404() {
    let registry = TestRegistry::start().await;
    registry.repository("app").push_image("1").await;
    for name in ["nowhere", "app/x", "ap", "app-x"] {
        registry.repository(name).get("tags/list").await.fails(404, "NAME_UNKNOWN");
    }
}

#[tokio::test]
async fn tags_of_similar_names_are_kept_apart() {
    let registry = TestRegistry::start().await;
    let names = ["app", "app-x", "app/x", "app.x", "app0", "ap", "app/x/y", "app__x"];
    for (number, name) in names.iter().enumerate() {
        let repository = registry.repository(name);
        let image = repository.push_image("v1").await;
        tag_all(&repository, &image, &["v1-x", "v1.x", "v10", "v", &format!("only-{number}")]).await;
    }
    for (number, name) in names.iter().enumerate() {
        let expected = [&format!("only-{number}"), "v", "v1", "v1-x", "v1.x", "v10"].map(str::to_owned);
        assert_eq!(registry.repository(name).tags().await, expected);
        let mut paged = Vec::new();
        let mut page = Some(format!("/v2/{name}/tags/list?n=1"));
        while let Some(address) = page {
            let answer = registry.get(address).await.is(200);
            paged.extend(answer.list("tags"));
            page = answer.next_page();
        }
        assert_eq!(paged, expected);
    }
}

#[tokio::test]
async fn tags_list_hides_referrers_fallback_tags() {
    let registry = TestRegistry::start().await;
    let app = registry.repository("app");
    let image = app.push_image("1.0").await;
    let fallback = image.digest.referrers_tag();
    let index = index_manifest(&[image.part()]).to_string();
    app.put_manifest_as(&fallback, OCI_INDEX, index.clone()).await.is(201);
    assert_eq!(app.tags().await, ["1.0"]);
    // The fallback tag can be pulled by name. Other tags of a similar form are listed.
    app.get(format_args!("manifests/{fallback}")).await.is(200).carries(index);
    let signature = format!("sha256-{}.sig", Algorithm::Sha256.digest(b"x").hex());
    tag_all(&app, &image, &[&signature]).await;
    assert_eq!(app.tags().await, ["1.0", &signature]);
}
