//! Accounts of an htpasswd file, written by the real `htpasswd`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use tempfile::TempDir;

use crate::harness::{PASSWORD, TestRegistry, Who, basic, with_accounts_and};

/// Runs `htpasswd` of Debian's apache2-utils.
fn htpasswd(arguments: &[&str], file: &Path) {
    let ended =
        Command::new("htpasswd").args(arguments.iter().take(1)).arg(file).args(&arguments[1..]).output();
    let ended = ended.expect("htpasswd runs; it is in Debian's apache2-utils");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// Polls until a sign-in has this status, because the server looks at the file every few seconds. The pause
/// keeps the login throttle from counting the attempts as guesses.
async fn until(registry: &TestRegistry, who: &Who, status: u16) {
    for _ in 0..120 {
        if registry.get_as(who, "/v2/").await.status == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    registry.get_as(who, "/v2/").await.is(status);
}

#[tokio::test]
async fn htpasswd_users_are_ordinary_accounts() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("users");
    htpasswd(&["-cbB", "ann", PASSWORD], &file);
    htpasswd(&["-bm", "bob", PASSWORD], &file);
    htpasswd(&["-bs", "carl", PASSWORD], &file);
    let registry = TestRegistry::start_with(|config| config.auth.htpasswd = Some(file.clone())).await;

    registry.get("/v2/").await.is(401);
    for name in ["ann", "bob", "carl"] {
        let user = Who::user(name);
        registry.get_as(&user, "/v2/").await.is(200);
        registry.get_as(&basic(name, "wrong"), "/v2/").await.is(401);
        let repository = format!("{name}/app");
        registry.repository(&repository).of(&user).push_image("1").await;
        registry.ask_as(&user, Method::POST, "/v2/somebody/app/blobs/uploads/").await.is(403);
    }
    registry.get_as(&Who::user("bob"), "/v2/ann/app/manifests/1").await.is(404);
    let ann = Who::user("ann");
    let grant = serde_json::json!({ "subject": "bob", "rights": ["pull"], "repositories": "ann/app" });
    registry.send_as(&ann, Method::PUT, "/api/v1/grants", &grant).await.is(204);
    registry.get_as(&Who::user("bob"), "/v2/ann/app/manifests/1").await.is(200);

    // The file changes: one user more, another password, one user less.
    htpasswd(&["-bB", "dave", PASSWORD], &file);
    htpasswd(&["-bB", "ann", "another password"], &file);
    htpasswd(&["-D", "carl"], &file);
    until(&registry, &Who::user("dave"), 200).await;
    until(&registry, &basic("ann", "another password"), 200).await;
    registry.get_as(&Who::user("ann"), "/v2/").await.is(401);
    registry.get_as(&Who::user("carl"), "/v2/").await.is(401);
    registry.get_as(&basic("ann", "another password"), "/v2/ann/app/manifests/1").await.is(200);

    // An unusable line affects its user alone: a removal counts whatever else is in the file.
    htpasswd(&["-D", "bob"], &file);
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("\u{feff}eve:$6$salt$hash\nno line\n{lines}")).unwrap();
    until(&registry, &Who::user("bob"), 401).await;
    registry.get_as(&Who::user("dave"), "/v2/").await.is(200);
    registry.get_as(&basic("eve", PASSWORD), "/v2/").await.is(401);
    let made = registry.get_as(&Who::user("dave"), "/api/v1/me").await.is(200).json();
    assert_eq!(made["name"], "dave");
}

/// A user of the file would return with the next reload.
#[tokio::test]
async fn htpasswd_user_is_removed_with_its_line() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("users");
    htpasswd(&["-cbB", "ann", PASSWORD], &file);
    htpasswd(&["-bB", "bob", PASSWORD], &file);
    let registry = with_accounts_and(|config| config.auth.htpasswd = Some(file.clone())).await;
    let remove = async || registry.ask_as(&Who::root(), Method::DELETE, "/api/v1/users/ann").await;
    assert!(remove().await.fails(409, "DENIED").text().contains("htpasswd file"));
    registry.get_as(&Who::user("ann"), "/v2/").await.is(200);
    htpasswd(&["-D", "ann"], &file);
    until(&registry, &Who::user("ann"), 401).await;
    remove().await.is(204);
    registry.get_as(&Who::root(), "/api/v1/users/ann").await.is(404);
}
