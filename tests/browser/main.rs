//! The pages in Chromium, by playwright-core: both languages, light and dark, the size of a phone, the
//! keyboard alone, and without scripts. `walk.cjs` says what it checks.
//!
//! `WHARFINGER_SCREENSHOTS=docs/images` writes the screenshots of the documentation. `docker_registry_ui`
//! needs a copy of that program, which no package registry has:
//!
//! ```text
//! git clone --branch 2.6.0 --depth 1 https://github.com/Joxit/docker-registry-ui /tmp/ui
//! WHARFINGER_REGISTRY_UI=/tmp/ui/dist cargo test --test browser docker_registry_ui -- --ignored
//! ```

// A failed expectation reports its place.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use registry::webhooks::WebhookFormat;
use tokio::process::Command;
use wharfinger::config::{Challenge, Immutable, Upstream, WebOrigin, WebhookTable};

#[allow(dead_code, unused_imports, reason = "the harness of tests/http serves more tests")]
#[path = "../http/harness/mod.rs"]
mod harness;

/// The time after which the browser counts as hung.
const DEADLINE: Duration = Duration::from_secs(480);

/// Returns the directory of an npm package that `scripts/install-tools` has installed.
fn modules(name: &str) -> PathBuf {
    let list = include_str!("../../scripts/tools.txt");
    let mut words = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = words.find(|words| words.first() == Some(&name)).unwrap();
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let modules = cache.join(format!("wharfinger/tools/{name}-{}/node_modules", line[1]));
    assert!(modules.is_dir(), "{} is missing: run scripts/test", modules.display());
    modules
}

/// A webhook of the configuration whose receiver refuses everything.
fn webhook(address: SocketAddr) -> WebhookTable {
    WebhookTable {
        url: format!("http://{address}/builds"),
        secret: "secret".to_owned(),
        previous_secret: String::new(),
        events: vec!["tag.*".into()],
        repositories: vec!["team/**".parse().unwrap()],
        media_types: Vec::new(),
        format: WebhookFormat::CloudEvents,
        allow_private: true,
        headers: Vec::new(),
        ca: None,
        attempts: 1,
        name: "ci".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_work_in_a_browser() {
    let upstream = harness::TestRegistry::start().await;
    upstream.repository("library/ubuntu").push_image("24.04").await;
    let address = harness::free_address().await;
    let _receiver = harness::Receiver::start(address, |_| 410).await;
    let other = harness::free_address().await;
    let registry = harness::with_accounts_and(|config| {
        config.web.cors_origins = vec![WebOrigin::Exact(format!("http://{other}"))];
        let settings = Upstream::from_argument(&format!("docker.io=http://{}", upstream.address()));
        config.upstream.push(settings.unwrap());
        config.webhook.push(webhook(address));
        let immutable = |repositories: &str, tags: &str| Immutable {
            repositories: vec![repositories.parse().unwrap()],
            tags: vec![tags.parse().unwrap()],
        };
        config.immutable.push(immutable("library/**", "/[0-9].*/"));
    })
    .await;
    run(&registry, other, "walk.cjs", std::env::var_os("WHARFINGER_SCREENSHOTS")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WHARFINGER_REGISTRY_UI, the directory `dist` of docker-registry-ui"]
async fn docker_registry_ui_lists_shows_and_deletes() {
    let dist = std::env::var_os("WHARFINGER_REGISTRY_UI").expect("set WHARFINGER_REGISTRY_UI");
    let other = harness::free_address().await;
    let registry = harness::with_accounts_and(|config| {
        config.web.cors_origins = vec![WebOrigin::Exact(format!("http://{other}"))];
        config.auth.challenge = Challenge::Basic;
    })
    .await;
    run(&registry, other, "registry_ui.cjs", Some(dist)).await;
}

/// Runs a script of this directory, which may serve pages at `other`.
async fn run(registry: &harness::TestRegistry, other: SocketAddr, script: &str, argument: Option<OsString>) {
    assert!(Path::new("/usr/bin/chromium").exists(), "chromium is missing: run scripts/test");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script);
    let mut command = Command::new("node");
    command.arg(script).arg(format!("http://{}", registry.address())).args(["root", harness::PASSWORD]);
    command.arg(other.port().to_string()).args(argument);
    let path = std::env::join_paths([modules("playwright"), modules("axe")]).unwrap();
    command.env("NODE_PATH", path).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("the browser hangs").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
