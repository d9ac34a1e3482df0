//! The page that deletes several tags.

use wharfinger::config::Immutable;

use super::{Browser, Html as _};
use crate::harness::{Who, with_accounts_and};

const PAGE: &str = "/-/delete-tags/ann/app";

#[tokio::test]
async fn chosen_tags_are_deleted_and_restored() {
    let registry = with_accounts_and(|config| {
        config.immutable =
            vec![Immutable { repositories: vec!["**".parse().unwrap()], tags: vec!["v*".parse().unwrap()] }];
    })
    .await;
    registry.add_user("ann").await;
    let app = registry.repository("ann/app").of(&Who::user("ann"));
    let image = app.push_image("a").await;
    app.put_manifest_as("also-a", crate::harness::OCI_MANIFEST, image.manifest).await.is(201);
    for tag in ["b", "v1", "stays"] {
        app.push_image(tag).await;
    }
    let mut ann = Browser::signed_in(&registry, "ann").await;
    let page = ann.open("/ann/app").await.is(200).html();
    assert_eq!(page.matches("type=\"checkbox\" name=\"tag\"").count(), 5, "{page}");
    assert!(page.contains("<form id=\"delete-tags\" class=\"inline\" method=\"get\""), "{page}");
    let all = ann.open("/ann/app?choose=all").await.is(200).html();
    assert_eq!(all.matches(" checked>").count(), 5, "{all}");

    // The page says what becomes of each tag.
    let page = ann.open(&format!("{PAGE}?tag=a&tag=b&tag=v1&tag=absent")).await.is(200).html();
    for text in [
        "Its image stays under its other tags: also-a.",
        "Its image stays, and can be pulled by digest until garbage collection.",
        "Immutable by the rule v*.",
        "It is not there.",
        "Delete 2 tags",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(ann.open(PAGE).await.is(200).html().contains("No tag is chosen"));
    ann.open(&format!("{PAGE}?tag=%2F")).await.is(400);

    // Nothing is deleted without the name.
    let fields = "tag=a&tag=b&tag=v1";
    let page = ann.send(PAGE, &format!("{fields}&confirmation=app")).await.is(200).html();
    assert!(page.contains("Nothing was deleted"), "{page}");
    assert_eq!(app.tags().await.len(), 5);
    let page = ann.send(PAGE, &format!("{fields}&confirmation=ann/app")).await.is(200).html();
    for text in
        ["2 tags were deleted", "1 tag was not deleted", "Immutable by the rule v*.", "Undo: restore 2 tags"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert_eq!(app.tags().await, ["also-a", "stays", "v1"]);

    // The form of the result takes the deletion back.
    let undo =
        page.split("<form action=\"/-/history/ann/app\"").nth(1).unwrap().split("</form>").next().unwrap();
    let values = undo.split("name=\"").skip(2).map(|field| {
        let (name, rest) = field.split_once("\" value=\"").unwrap();
        format!("{name}={}", rest.split('"').next().unwrap())
    });
    let fields = values.collect::<Vec<_>>().join("&");
    ann.send("/-/history/ann/app", &fields).await.is(303).has("location", "/ann/app?done=undone-all");
    assert_eq!(app.tags().await, ["a", "also-a", "b", "stays", "v1"]);
}

#[tokio::test]
async fn tags_are_chosen_by_those_who_may_delete() {
    let registry = with_accounts_and(|_| {}).await;
    registry.add_user("ann").await;
    registry.add_user("bob").await;
    let app = registry.repository("ann/app").of(&Who::user("ann"));
    for tag in ["a", "b"] {
        app.push_image(tag).await;
    }
    registry.grant("bob", &["pull", "push"], "ann/app").await;
    let mut bob = Browser::signed_in(&registry, "bob").await;
    let page = bob.open("/ann/app").await.is(200).html();
    assert!(!page.contains("type=\"checkbox\""), "{page}");
    bob.open(&format!("{PAGE}?tag=a")).await.is(403);
    bob.send(PAGE, "tag=a&confirmation=ann/app").await.is(403);
    // Without the right to push, the deletion stays.
    registry.grant("bob", &["pull", "delete"], "ann/app").await;
    let page = bob.send(PAGE, "tag=a&confirmation=ann/app").await.is(200).html();
    assert!(page.contains("1 tag was deleted") && !page.contains("Undo"), "{page}");
    assert_eq!(app.tags().await, ["b"]);
}
