//! The audit log of what people do on pages.

use serde_json::{Value, json};

use super::{Browser, Html as _};
use crate::harness::{Who, with_accounts};

#[tokio::test]
async fn forms_are_recorded_once_they_change_something() {
    let registry = with_accounts().await;
    let repository = registry.repository("root/app").of(&Who::root());
    let first = repository.push_image("1").await;
    let second = repository.push_image("1").await;
    let mut browser = Browser::signed_in(&registry, "root").await;
    browser.send("/-/retag/root/app:1", "tag=2").await.is(303);
    browser.send("/-/history/root/app", &format!("tag=1&digest={}", first.digest)).await.is(303);
    // A wrong confirmation shows the form again.
    browser.send("/-/delete/root/app:1", "confirmation=x").await.is(200);
    browser.send("/-/delete/root/app:1", "confirmation=1").await.is(303);
    let confirmation = format!("confirmation={}", &second.digest.hex()[..12]);
    browser.send(&format!("/-/delete/root/app@{}", second.digest), &confirmation).await.is(303);
    browser.send("/-/trash/root/app", &format!("digest={}", second.digest)).await.is(303);
    browser.send("/-/delete/root/app", "confirmation=root/app").await.is(303);
    browser.send("/-/admin/jobs", "action=run&confirmation=gc").await.is(303);

    let log = registry.get_as(&Who::root(), "/api/v1/audit?account=root").await.is(200).json();
    let rows = log["entries"].as_array().unwrap().iter().filter(|row| row["status"] == 303);
    let rows: Vec<Value> = rows.map(|row| json!([row["action"], row["object"], row["detail"]])).collect();
    let whole = format!("root/app@{}", second.digest);
    assert_eq!(
        rows,
        [
            json!(["manifest.push", "root/app:2", null]),
            json!(["tag.undo", "root/app:1", format!("to {}", first.digest)]),
            json!(["manifest.delete", "root/app:1", null]),
            json!(["manifest.delete", whole, null]),
            json!(["manifest.restore", whole, null]),
            json!(["repository.delete", "root/app", null]),
            json!(["gc.run", null, null]),
        ]
    );
    assert_eq!(log.to_string().matches("\"manifest.delete\"").count(), 2, "{log}");
}

#[tokio::test]
async fn log_is_paged_and_saved_with_its_filters() {
    let registry = with_accounts().await;
    // More than a page, and more than an export reads at once.
    for number in 0..201 {
        registry.grant("everyone", &["pull"], &format!("root/app-{number}")).await;
    }
    registry.add_user("ann").await;
    let image = registry.repository("root/app").of(&Who::root()).push_image("1").await;
    let delete = format!("/v2/root/app/manifests/{}", image.digest);
    registry.ask_as(&Who::root(), reqwest::Method::DELETE, &delete).await.is(202);
    let mut browser = Browser::signed_in(&registry, "root").await;
    let objects = |page: &str| -> Vec<String> {
        let cells = page.split("<span class=\"wrap\">").skip(1);
        cells.map(|cell| cell.split('<').next().unwrap().to_owned()).collect()
    };
    let (mut seen, mut next) = (Vec::new(), Some("/-/admin/audit?account=root&action=grant".to_owned()));
    let mut pages = 0;
    while let Some(address) = next {
        let page = browser.open(&address).await.is(200).html();
        assert_eq!(page.contains("Newest entries"), pages > 0, "{address}");
        seen.extend(objects(&page));
        pages += 1;
        let link = page.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
        next = link.map(|link| link.replace("&#38;", "&"));
    }
    let expected: Vec<String> = (0..201).rev().map(|number| format!("root/app-{number}")).collect();
    assert_eq!((pages, seen), (3, expected.clone()));

    let saved = browser.open("/-/admin/audit?account=root&action=grant&format=json").await.is(200);
    assert_eq!(saved.header("content-disposition"), Some("attachment; filename=\"audit.jsonl\""));
    let lines: Vec<Value> = saved.html().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let saved: Vec<&str> = lines.iter().rev().map(|line| line["object"].as_str().unwrap()).collect();
    assert_eq!(saved, expected);
    browser.open("/-/admin/audit?before=x").await.is(400);

    // A digest is shown as elsewhere: its beginning, with the whole one as the title.
    let page = browser.open("/-/admin/audit?action=manifest.delete").await.is(200).html();
    let digest = image.digest.to_string();
    let shown = format!("title=\"root/app@{digest}\">root/app@{}<", &digest[..19]);
    assert!(page.contains(&shown), "{page}");
}
