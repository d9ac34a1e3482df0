//! A registry with its blobs in a bucket: docker, skopeo, crane and curl against versitygw.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Engine, Image, Index, ObjectStore, Server, Terminal};

/// Deletions take effect with the next collection.
const NO_GRACE: &str = "[gc]\ngrace = 0\n";

/// Polls until `condition` holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The status of a GET.
fn status(user: &Terminal, url: &str) -> String {
    user.run(&format!("curl -s -o /dev/null -w '%{{http_code}}' {url} || true"))
}

/// Begins an upload, and returns its URL.
fn begin(user: &Terminal, registry: &Server) -> String {
    let at = registry.address();
    let location = user.run(&format!(
        "curl -sSf -o /dev/null -D - -X POST http://{at}/v2/team/large/blobs/uploads/ | tr -d '\\r' | \
         sed -n 's/^[Ll]ocation: //p'"
    ));
    if location.starts_with("http") { location } else { format!("http://{at}{location}") }
}

#[test]
fn docker_runs_an_image_from_a_bucket() {
    let store = ObjectStore::start();
    let registry = Server::configured(&store.settings("docker"));
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("official/ubuntu:14.04");
    engine.builds(&user, &image, "from a bucket");
    user.run(&format!("docker push {image}"));
    user.run(&format!("docker rmi {image}"));
    user.run(&format!("docker pull {image}"));
    user.run(&format!("docker run --rm --network=none {image}"));
    user.run(&format!("docker rmi {image}"));
}

#[test]
fn images_in_a_bucket_are_copied_and_collected() {
    let store = ObjectStore::start();
    let registry = Server::configured(&format!("{NO_GRACE}{}", store.settings("a/b")));
    let user = Terminal::open();
    let (app, copy) = (registry.at("team/app:1"), registry.at("other/app:1"));
    let image = Image::saved(&user, "app", "in a bucket");
    Index::saved(&user, "everywhere", "in a bucket");
    user.run(&format!("crane push app {app}"));
    user.run(&format!("crane push --index everywhere {}", registry.at("team/everywhere:1")));
    user.run(&format!("crane pull --format oci {app} back && diff --recursive app/blobs back/blobs"));
    // Mounts, and does not send the layers again.
    let before = store.keys("a/b").len();
    user.run(&format!("crane copy {app} {copy}"));
    assert_eq!(store.keys("a/b").len(), before);
    user.run(&format!(
        "skopeo copy --src-tls-verify=false docker://{copy} oci:skopeo:1 && \
         skopeo copy --dest-tls-verify=false oci:skopeo:1 docker://{}",
        registry.at("third/app:1")
    ));
    let digest = user.run(&format!("crane digest {copy}"));
    assert_eq!(image.digest, digest);
    let checked = registry.says("check --read");
    assert!(checked.ends_with(": nothing missing"), "{checked}");

    for name in ["team/app", "other/app", "third/app"] {
        user.run(&format!("crane delete {}@{digest}", registry.at(name)));
    }
    let told = registry.says("gc --now");
    assert!(told.contains("freed"), "{told}");
    assert!(store.keys("a/b").len() < before, "{told}");
    user.run(&format!("crane pull --format oci {} left", registry.at("team/everywhere:1")));
}

#[test]
fn downloads_are_redirected_to_a_bucket() {
    let store = ObjectStore::start();
    let registry = Server::configured(&format!("{}redirect = \"always\"\n", store.settings("redirected")));
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    Image::saved(&user, "app", "redirected");
    user.run(&format!("crane push app {app}"));
    let digest = user.run(&format!("crane manifest {app} | jq -r .layers[0].digest"));
    let blob = format!("http://{}/v2/team/app/blobs/{digest}", registry.address());
    assert_eq!(status(&user, &blob), "307");
    assert_eq!(status(&user, &format!("--head {blob}")), "200");
    assert_eq!(status(&user, &blob.replace("team/app", "team/other")), "404");
    user.run(&format!("curl -sSfL -o layer {blob}"));
    user.run(&format!("[ sha256:$(sha256sum layer | cut -d' ' -f1) = {digest} ]"));
    user.run(&format!("crane pull --format oci {app} back && diff --recursive app/blobs back/blobs"));
    user.run(&format!("skopeo copy --src-tls-verify=false docker://{app} oci:skopeo:1"));
    let engine = Engine::shared();
    let user = engine.terminal();
    user.run(&format!("docker pull {app} && docker rmi {app}"));
}

#[test]
fn upload_to_a_bucket_survives_a_kill() {
    let store = ObjectStore::start();
    let data = TempDir::new().expect("a temporary directory");
    let registry = Server::configured_at("127.0.0.1:0", data.path(), &store.settings("killed"));
    let user = Terminal::open();
    let chunk = "-H 'Content-Type: application/octet-stream' --data-binary";
    user.run("head -c 60000000 /dev/urandom > layer && head -c 40000000 layer > first && tail -c +40000001 layer > rest");
    let upload = begin(&user, &registry);
    let upload = user
        .run(&format!("curl -sSf -o /dev/null -D - -X PATCH {chunk} @first '{upload}' | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'"));
    let path = upload.split_once("/v2/").map(|(_, path)| path.to_owned()).expect("a path");
    // It ends in the middle of another upload, which nobody continues.
    let lost = begin(&user, &registry);
    user.run(&format!(
        "mkfifo end; {{ (head -c 50000000 /dev/urandom || :; cat end) | \
         curl -sS -o /dev/null -X PATCH -T - '{lost}'; }} >curl.log 2>&1 &"
    ));
    eventually("a part of the lost upload is in the store", || {
        store.keys("").iter().filter(|key| key.to_string_lossy().contains("sgwtmp")).count() > 3
    });
    let address = registry.address().to_owned();
    registry.kill();
    user.run(": >end");

    let registry = Server::configured_at(&address, data.path(), &store.settings("killed"));
    let digest = format!("sha256:{}", user.run("sha256sum layer | cut -d' ' -f1"));
    let mark = if path.contains('?') { '&' } else { '?' };
    user.run(&format!("curl -sSf -X PUT {chunk} @rest 'http://{address}/v2/{path}{mark}digest={digest}'"));
    user.run(&format!("curl -sSf -o back http://{address}/v2/team/large/blobs/{digest} && cmp layer back"));
    user.run(&format!(
        "curl -sSf -r 39999000-40001000 -o part http://{address}/v2/team/large/blobs/{digest} && \
         tail -c +39999001 layer | head -c 2001 | cmp - part"
    ));
    // Besides the lease, nothing is left.
    assert_eq!(store.keys("killed/wharfinger"), [Path::new("lease")]);
    assert_eq!(fs::read_dir(data.path().join("wharfinger/uploads")).map(Iterator::count).unwrap_or(0), 0);
    drop(registry);
}

#[test]
fn absent_object_store_is_unavailable() {
    let mut store = ObjectStore::start();
    let registry = Server::configured(&store.settings("away"));
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    Image::saved(&user, "app", "away");
    user.run(&format!("crane push app {app}"));
    let ready = format!("http://{}/readyz", registry.address());
    assert_eq!(status(&user, &ready), "200");
    let digest = user.run(&format!("crane manifest {app} | jq -r .layers[0].digest"));
    let blob = format!("http://{}/v2/team/app/blobs/{digest}", registry.address());
    assert_eq!(status(&user, &blob), "200");

    store.stop();
    let head = user.run(&format!("curl -s -o /dev/null -D - {blob}"));
    assert!(head.contains(" 503 ") && head.to_lowercase().contains("retry-after:"), "{head}");
    eventually("readyz fails", || status(&user, &ready) == "503");
    registry.wait_for_log("the object store cannot be used");

    store.start_again();
    eventually("readyz succeeds", || status(&user, &ready) == "200");
    assert_eq!(status(&user, &blob), "200");
    user.run(&format!("crane push app {}", registry.at("team/app:2")));
}

#[test]
fn directory_and_bucket_belong_together() {
    let store = ObjectStore::start();
    let user = Terminal::open();
    let data = user.path("data");
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    let settings = |name: &str, text: &str| {
        let path = user.path(name);
        fs::write(&path, text).expect("a settings file");
        path.display().to_string()
    };
    let own = settings("own.toml", &store.settings("own"));
    let other = settings("other.toml", &store.settings("other"));
    let none = settings("none.toml", "");
    let registry = Server::configured_at("127.0.0.1:0", &data, &store.settings("own"));
    Image::saved(&user, "app", "kept");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));
    drop(registry);

    let ls = |config: &str| format!("{wharfinger} ls --config {config} --data {}", data.display());
    assert!(user.run(&ls(&own)).contains("team/app"));
    assert!(user.fails(&ls(&none)).contains("set blobs.url"));
    assert!(user.fails(&ls(&other)).contains("and not in s3://images/other"));
    let flags = user.fails(&format!(
        "{} {wharfinger} serve --config {none} --listen 127.0.0.1:0 --blobs s3://images/own --data elsewhere",
        store.variables()
    ));
    assert!(flags.contains("holds the blobs of another database"), "{flags}");
    let gateway = user
        .fails(&format!("{wharfinger} gateway --upstream http://127.0.0.1:1 --config {own} --data gateway"));
    assert!(gateway.contains("a gateway stores no blobs"), "{gateway}");

    let copied = user
        .fails(&format!("{wharfinger} backup copy --with-blobs --config {own} --data {}", data.display()));
    assert!(copied.contains("the blobs are in s3://images/own"), "{copied}");
    user.run(&format!("{wharfinger} backup file --config {own} --data {}", data.display()));
    user.run(&format!("{wharfinger} restore file --config {own} --data restored"));
    assert!(
        user.fails(&format!("{wharfinger} ls --config {none} --data restored")).contains("set blobs.url")
    );
    let checked = user.run(&format!("{wharfinger} check --read --config {own} --data restored"));
    assert!(checked.contains("1 repositor"), "{checked}");
}
