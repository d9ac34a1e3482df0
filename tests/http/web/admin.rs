//! Pages of administrators and owners: garbage collection, upstreams, webhooks, rules, space.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use wharfinger::config::{By, Immutable, Retention, Upstream};

use super::{Browser, Html};
use crate::harness::{
    OCI_MANIFEST, Receiver, TestRegistry, Who, basic, eventually, free_address, random, with_accounts,
    with_accounts_and,
};

#[tokio::test]
async fn collection_is_previewed_and_run_by_a_form() {
    let registry = with_accounts_and(|config| {
        config.gc.grace = Duration::ZERO;
        // None begins by itself before the preview.
        config.gc.interval = Duration::ZERO;
    })
    .await;
    let repository = registry.repository("root/app").of(&Who::root());
    let image = repository.push_image("1.0").await;
    repository.delete(format_args!("manifests/{}", image.digest)).await.is(202);
    let mut browser = Browser::signed_in(&registry, "root").await;
    let page = browser.open("/-/admin/jobs").await.is(200).html();
    assert!(page.contains("Deleted images") && page.contains("No collection has run"), "{page}");
    let preview = browser.send("/-/admin/jobs", "action=preview").await.is(200).html();
    assert!(preview.contains("would delete") && preview.contains(&image.digest.to_string()), "{preview}");
    let kept = browser.open(&format!("/-/admin/jobs?digest={}", image.digest)).await.is(200).html();
    assert!(kept.contains("deleted manifest") && kept.contains("root/app"), "{kept}");
    browser.open("/-/admin/jobs?digest=sha256:x").await.is(400);
    browser.send("/-/admin/jobs", "action=run").await.is(400);
    browser
        .send("/-/admin/jobs", "action=run&confirmation=gc")
        .await
        .is(303)
        .has("location", "/-/admin/jobs?done=gc-started");
    eventually("the collection has ended", async || {
        browser.open("/-/admin/jobs").await.html().contains("Last collection")
    })
    .await;
    let page = browser.open("/-/admin/jobs").await.is(200).html();
    assert!(page.contains("4 files deleted") && page.contains("Garbage collection"), "{page}");
    // The job ends a moment after its result is there.
    eventually("the job has ended", async || {
        let jobs = registry.get_as(&Who::root(), "/api/v1/jobs").await.is(200).json();
        let mut jobs = jobs["jobs"].as_array().unwrap().iter();
        jobs.find(|job| job["kind"] == "garbage-collection").unwrap()["succeeded"] == 1
    })
    .await;
}

#[tokio::test]
async fn overview_shows_the_faults_of_readyz() {
    let mut registry = with_accounts().await;
    let page = Browser::signed_in(&registry, "root").await.open("/-/admin").await.is(200).html();
    assert!(page.contains("Storage and database answer.") && page.contains("iB free of "), "{page}");
    registry.stop().await;
    // A file where a directory has to be, which not even root can write below.
    std::fs::write(registry.data().join("docker/registry/v2/repositories/root"), "").unwrap();
    registry.run().await;
    registry.repository("root/app").of(&Who::root()).push_image("v1").await;
    eventually("the links are blocked", async || {
        registry.get("/readyz").await.is(200).text().contains("degraded: the links of 1 repository")
    })
    .await;
    let page = Browser::signed_in(&registry, "root").await.open("/-/admin").await.is(200).html();
    let fault = "The links of 1 repository below repositories/ cannot be written.";
    assert!(page.contains(fault) && !page.contains("Storage and database answer."), "{page}");
}

#[tokio::test]
async fn overview_of_a_gateway_shows_the_state_of_its_upstream() {
    let mut upstream = TestRegistry::start().await;
    let url = format!("http://{}", upstream.address());
    let gateway = crate::harness::gateway(&[&url], &[]).await;
    let mut root = Browser::signed_in(&gateway, "root").await;
    let page = root.open("/-/admin").await.is(200).html();
    assert!(page.contains("and the registry behind this gateway answer."), "{page}");
    upstream.stop().await;
    let page = root.open("/-/admin").await.is(200).html();
    assert!(page.contains("The registry behind this gateway is not ready:"), "{page}");
}

#[tokio::test]
async fn upstream_is_tested_and_purged_by_forms() {
    let upstream = TestRegistry::start().await;
    upstream.repository("team/app").push_image("1.0").await;
    let layer = upstream.repository("team/app").push_blob(random(70_000)).await;
    let settings = Upstream::from_argument(&format!("hub=http://{}", upstream.address())).unwrap();
    let registry = with_accounts_and(|config| config.upstream.push(settings)).await;
    registry.get_as(&Who::root(), "/v2/hub/team/app/manifests/1.0").await.is(200);
    registry.get_as(&Who::root(), "/v2/hub/team/app/manifests/1.0").await.is(200);
    let mut browser = Browser::signed_in(&registry, "root").await;
    let page = browser.open("/-/admin/upstreams").await.is(200).html();
    assert!(page.contains("50 %") && page.contains("1 answer from the cache"), "{page}");
    let tested = browser.send("/-/admin/upstreams", "name=hub&action=test").await.is(200).html();
    assert!(tested.contains("It answers"), "{tested}");
    registry.get_as(&Who::root(), &format!("/v2/hub/team/app/blobs/{layer}")).await.is(200);
    assert!(registry.blob_file(&layer).exists());
    browser.send("/-/admin/upstreams", "name=hub&action=purge&confirmation=other").await.is(400);
    let purged =
        browser.send("/-/admin/upstreams", "name=hub&action=purge&confirmation=hub").await.is(200).html();
    assert!(purged.contains("1 repository was removed from the cache."), "{purged}");
    assert!(!registry.blob_file(&layer).exists(), "a purge frees space at once");
    browser.send("/-/admin/upstreams", "name=absent&action=test").await.is(404);
}

#[tokio::test]
async fn webhook_shows_the_answers_of_its_receiver() {
    let address = free_address().await;
    let mut webhook = crate::events::webhook(address);
    (webhook.attempts, webhook.name) = (1, "ci".to_owned());
    let registry = with_accounts_and(|config| config.webhook = vec![webhook]).await;
    let receiver = Receiver::start(address, |_| 400).await;
    registry.repository("root/app").of(&Who::root()).push_image("1.0").await;
    let mut browser = Browser::signed_in(&registry, "root").await;
    eventually("deliveries are parked", async || {
        browser.open("/-/webhooks/ci?state=parked").await.html().contains("Send again")
    })
    .await;
    assert!(receiver.count() > 0);
    let page = browser.open("/-/webhooks/ci?state=parked").await.is(200).html();
    assert!(page.contains("400") && page.contains("root/app") && page.contains("Send again"), "{page}");
    let test = browser.send("/-/webhooks/ci", "action=test").await.is(200).html();
    assert!(test.contains("did not accept the test event") && test.contains("HTTP 400"), "{test}");
    let replayed = browser.send("/-/webhooks/ci", "action=replay").await.is(200).html();
    assert!(replayed.contains("sent again"), "{replayed}");
    // A webhook of the configuration is changed there.
    browser.send("/-/webhooks/ci", "action=remove&confirmation=ci").await.is(400);
    browser.open("/-/webhooks/other").await.is(404);
}

#[tokio::test]
async fn owner_adds_a_webhook_for_own_repositories() {
    let registry = with_accounts_and(|_| {}).await;
    for name in ["ann", "bob"] {
        registry.add_user(name).await;
    }
    let mut ann = Browser::signed_in(&registry, "ann").await;
    let page = ann.open("/-/webhooks?repository=ann/app").await.is(200).html();
    assert!(page.contains("value=\"ann/app\""), "{page}");
    let private = "url=http%3A%2F%2F127.0.0.1%2Fhook&repositories=ann%2F**&format=cloudevents";
    let refused = ann.send("/-/webhooks", private).await.is(400).html();
    assert!(refused.contains("public internet") && refused.contains("http://127.0.0.1/hook"), "{refused}");
    let foreign = "url=https%3A%2F%2Fhooks.example.com%2F&repositories=bob%2F**&format=cloudevents";
    ann.send("/-/webhooks", foreign).await.is(400);
    let own = "url=https%3A%2F%2Fhooks.example.com%2F&repositories=ann%2F**&events=push&events=tag.moved";
    let made = ann.send("/-/webhooks", &format!("{own}&format=cloudevents")).await.is(200).html();
    assert!(made.contains("whsec_") && made.contains("push, tag.moved"), "{made}");
    let shown = ann.open("/-/webhooks/1").await.is(200).html();
    assert!(shown.contains("<span>CloudEvents 1.0, structured</span>"), "{shown}");
    let mut bob = Browser::signed_in(&registry, "bob").await;
    assert!(!bob.open("/-/webhooks").await.is(200).html().contains("hooks.example.com"));
    bob.open("/-/webhooks/1").await.is(404);
    bob.send("/-/webhooks/1", "action=remove&confirmation=1").await.is(404);
    assert!(ann.send("/-/webhooks/1", "action=secret").await.is(200).html().contains("whsec_"));
    ann.send("/-/webhooks/1", "action=remove&confirmation=2").await.is(400);
    ann.send("/-/webhooks/1", "action=remove&confirmation=1").await.is(303);
    ann.open("/-/webhooks/1").await.is(404);
}

#[tokio::test]
async fn rules_are_listed_and_previewed() {
    let registry = with_accounts_and(|config| {
        config.immutable = vec![Immutable {
            repositories: vec!["root/**".parse().unwrap()],
            tags: vec!["v*".parse().unwrap()],
        }];
        config.retention = vec![Retention {
            repositories: vec!["ci/**".parse().unwrap()],
            tags: vec!["build-*".parse().unwrap()],
            keep_newest: Some(10),
            by: By::Version,
            keep_pushed_within: None,
            keep_pulled_within: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            keep: vec!["build-1".parse().unwrap()],
        }];
    })
    .await;
    let own = serde_json::json!({ "rules": [{ "repositories": ["root/app"], "keep_newest": 1 }] });
    let path = "/api/v1/retention/rules/root";
    registry.send_as(&Who::root(), Method::PUT, path, &own).await.is(204);
    let repository = registry.repository("root/app").of(&Who::root());
    for tag in ["v1", "v2", "latest"] {
        repository.push_image(tag).await;
    }
    let mut browser = Browser::signed_in(&registry, "root").await;
    let page = browser.open("/-/admin/rules").await.is(200).html();
    assert!(page.contains("immutable") && page.contains("root/**"), "{page}");
    let kept = "the 10 highest versions · pushed or pulled within 30 days · build-1";
    assert!(page.contains(kept) && page.contains("the newest tag</td>"), "{page}");
    let page = browser.open("/-/admin/rules?repositories=**&tags=v*").await.is(200).html();
    assert!(page.contains("selects 2 tags") && page.contains("/root/app:v2") && !page.contains("app:latest"));
    browser.open("/-/admin/rules?repositories=**&tags=%2F(%2F").await.is(400);
    let rules =
        registry.get_as(&Who::root(), "/api/v1/rules?repositories=root/*&tags=v1").await.is(200).json();
    assert_eq!(rules["preview"]["tags"].as_array().unwrap().len(), 1);
    assert_eq!(rules["immutable"][0]["tags"][0], "v*");
    assert_eq!(rules["retention"][0]["owner"], serde_json::Value::Null);
    assert_eq!(
        (&rules["retention"][1]["owner"], &rules["retention"][1]["rule"]["keep_newest"]),
        (&"root".into(), &1.into())
    );
    let page = browser.open("/root/app:v1").await.is(200).html();
    assert!(page.contains("immutable"), "{page}");
}

#[tokio::test]
async fn usage_counts_shared_layers_of_an_owner_once() {
    let registry = with_accounts_and(|_| {}).await;
    let image = registry.repository("root/app").of(&Who::root()).push_image("1.0").await;
    let size: usize =
        image.blobs.iter().map(|(_, content)| content.len()).sum::<usize>() + image.manifest.len();
    let copy = registry.repository("root/copy").of(&Who::root());
    for (_, content) in &image.blobs {
        copy.push_blob(content.clone()).await;
    }
    copy.put_manifest_as("1.0", OCI_MANIFEST, image.manifest.clone()).await.is(201);
    let usage = registry.get_as(&Who::root(), "/api/v1/usage/owners").await.is(200).json();
    let expected = serde_json::json!([{ "owner": "root", "repositories": 2, "bytes": size }]);
    assert_eq!(usage["owners"], expected);
    let mut browser = Browser::signed_in(&registry, "root").await;
    // The page shows what is counted in the background.
    let is_shown = async || browser.open("/-/admin/usage").await.is(200).html().contains("?namespace=root");
    eventually("the owner is counted", is_shown).await;
    registry.get("/api/v1/usage/owners").await.is(200);
    assert_eq!(registry.get("/api/v1/usage/owners").await.json()["owners"], serde_json::json!([]));
}

#[tokio::test]
async fn administrator_revokes_what_a_user_has() {
    const PAGE: &str = "/-/admin/accounts/ann";
    let registry = with_accounts().await;
    registry.add_user("ann").await;
    registry.add_organisation("acme", "ann").await;
    let robot = registry.add_robot("ann+ci").await;
    let secret = registry.add_token("ann", &json!({ "label": "laptop", "rights": ["pull"] })).await;
    let mut ann = Browser::signed_in(&registry, "ann").await;
    let mut root = Browser::signed_in(&registry, "root").await;
    let list = root.open("/-/admin/accounts").await.is(200).html();
    assert!(list.contains(&format!("href=\"{PAGE}\"")), "{list}");
    let page = root.open(PAGE).await.is(200).html();
    for text in [
        "laptop",
        "127.0.0.1",
        "ann+ci",
        "href=\"/-/organisations/acme\"",
        "href=\"/-/grants?subject=ann\"",
        "href=\"/-/admin/audit?account=ann\"",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains(&secret), "{page}");
    let ids: Vec<&str> =
        page.split("name=\"id\" value=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let [token, session] = ids[..] else { panic!("{ids:?}") };

    // Nobody else may do it, and a token of another user is not revoked by the page.
    ann.send(PAGE, &format!("action=revoke-token&id={token}")).await.is(403);
    root.send("/-/admin/accounts/root", &format!("action=revoke-token&id={token}")).await.is(400);
    registry.get_as(&basic("ann", &secret), "/v2/").await.is(200);
    root.send(PAGE, &format!("action=revoke-token&id={token}")).await.is(200);
    registry.get_as(&basic("ann", &secret), "/v2/").await.is(401);
    root.send(PAGE, &format!("action=end-session&id={session}")).await.is(200);
    ann.open("/-/account").await.is(303);
    let page = root.open(PAGE).await.is(200).html();
    assert!(page.contains("There are no tokens.") && page.contains("No browser is signed in."), "{page}");

    root.send(PAGE, "action=disable-robot&robot=ann%2Bci").await.is(200);
    registry.get_as(&robot, "/v2/").await.is(401);
    let page = root.send(PAGE, "action=enable-robot&robot=ann%2Bci").await.is(200).html();
    assert!(page.contains("The robot was changed."), "{page}");
    registry.get_as(&robot, "/v2/").await.is(200);
    root.open("/-/admin/accounts/absent").await.is(404);
    root.send(PAGE, "action=none").await.is(400);
}

#[tokio::test]
async fn owner_describes_an_organisation() {
    const PAGE: &str = "/-/organisations/acme";
    let registry = with_accounts().await;
    for user in ["ann", "bob"] {
        registry.add_user(user).await;
    }
    registry.add_organisation("acme", "ann").await;
    let mut ann = Browser::signed_in(&registry, "ann").await;
    ann.send(PAGE, "action=set-member&user=bob&role=writer").await.is(200);
    let page = ann.send(PAGE, "action=describe&description=The+whole+company").await.is(200).html();
    assert!(page.contains("<p class=\"lead\">The whole company</p>"), "{page}");
    let mut bob = Browser::signed_in(&registry, "bob").await;
    bob.send(PAGE, "action=describe&description=Mine").await.is(400);
    let page = bob.open(PAGE).await.is(200).html();
    assert!(page.contains("The whole company") && !page.contains("value=\"describe\""), "{page}");
}
