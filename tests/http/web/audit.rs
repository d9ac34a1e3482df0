//! The audit log of what people do on pages.

use serde_json::{Value, json};

use super::Browser;
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
