//! A registry with its blobs in a container of Azure (azurite): docker, crane, skopeo and curl.

use tempfile::TempDir;

use crate::harness::object_servers::AZURITE;
use crate::harness::{Image, Index, Server, Terminal, docker_runs_an_image};

/// Deletions take effect with the next collection.
const NO_GRACE: &str = "[gc]\ngrace = 0\n";

/// The settings of a registry with its blobs below a prefix.
fn settings(user: &Terminal, prefix: &str) -> String {
    AZURITE.prefix(prefix).settings(&user.path(""))
}

/// crane and skopeo push, copy and pull images, one of which is collected. Then the registry is killed and
/// started again.
#[test]
fn images_in_azure_outlive_a_kill() {
    let (data, user) = (TempDir::new().expect("a temporary directory"), Terminal::open());
    let settings = format!("{NO_GRACE}{}", settings(&user, "a/b"));
    let registry = Server::configured_at("127.0.0.1:0", data.path(), &settings);
    let (app, copy) = (registry.at("team/app:1"), registry.at("other/app:1"));
    let image = Image::saved(&user, "app", "in another store");
    Index::saved(&user, "everywhere", "in another store");
    user.run(&format!("crane push app {app}"));
    user.run(&format!("crane push --index everywhere {}", registry.at("team/everywhere:1")));
    user.run(&format!("crane pull --format oci {app} back && diff --recursive app/blobs back/blobs"));
    user.run(&format!("crane copy {app} {copy}"));
    user.run(&format!(
        "skopeo copy --src-tls-verify=false docker://{copy} oci:skopeo:1 && \
         skopeo copy --dest-tls-verify=false oci:skopeo:1 docker://{}",
        registry.at("third/app:1")
    ));
    let checked = registry.says("check --read");
    assert!(checked.ends_with(": nothing missing"), "{checked}");
    for name in ["team/app", "other/app"] {
        user.run(&format!("crane delete {}@{}", registry.at(name), image.digest));
    }
    let told = registry.says("gc --now");
    assert!(told.contains("freed 0 B in 0 files"), "one repository still has the image: {told}");
    user.run(&format!("crane validate --remote {}", registry.at("third/app:1")));
    user.run(&format!("crane delete {}@{}", registry.at("third/app"), image.digest));
    let told = registry.says("gc --now");
    assert!(told.contains("freed") && !told.contains("freed 0 B"), "{told}");
    let address = registry.address().to_owned();
    registry.kill();

    let registry = Server::configured_at(&address, data.path(), &settings);
    user.run(&format!("crane pull --format oci {} left", registry.at("team/everywhere:1")));
    let checked = registry.says("check --read");
    assert!(checked.ends_with(": nothing missing"), "{checked}");
    user.run(&format!("crane push app {app}"));
    user.run(&format!("crane validate --remote {app}"));
}

/// curl sends chunks, each before a kill of the registry.
#[test]
fn chunks_of_an_upload_to_azure_outlive_kills() {
    let (data, user) = (TempDir::new().expect("a temporary directory"), Terminal::open());
    let settings = settings(&user, "chunks");
    let mut registry = Server::configured_at("127.0.0.1:0", data.path(), &settings);
    let address = registry.address().to_owned();
    user.run("head -c 60000000 /dev/urandom > layer && split -b 20000000 layer part.");
    let digest = format!("sha256:{}", user.run("sha256sum layer | cut -d' ' -f1"));
    let path = "tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'";
    let mut upload = user.run(&format!(
        "curl -sSf -o /dev/null -D - -X POST http://{address}/v2/team/large/blobs/uploads/ | {path}"
    ));
    for part in ["aa", "ab", "ac"] {
        upload = user.run(&format!(
            "curl -sSf -o /dev/null -D - -X PATCH -H 'Content-Type: application/octet-stream' --data-binary @part.{part} \
             'http://{address}{upload}' | {path}"
        ));
        registry.kill();
        registry = Server::configured_at(&address, data.path(), &settings);
    }
    user.run(&format!("curl -sSf -X PUT 'http://{address}{upload}?digest={digest}'"));
    let blob = format!("http://{address}/v2/team/large/blobs/{digest}");
    user.run(&format!("curl -sSf -o back {blob} && cmp layer back"));
    user.run(&format!(
        "curl -sSf -r 39999000-40001000 -o part {blob} && tail -c +39999001 layer | head -c 2001 | cmp - part"
    ));
    drop(registry);
}

/// The printed lines are the settings of the new place.
#[test]
fn blobs_move_to_azure_and_back() {
    let (data, user) = (TempDir::new().expect("a temporary directory"), Terminal::open());
    let (place, secret) = (AZURITE.prefix("moved"), user.path("secret"));
    std::fs::write(&secret, &place.secret).expect("a file");
    let registry = Server::configured_at("127.0.0.1:0", data.path(), "");
    let address = registry.address().to_owned();
    Image::saved(&user, "app", "on the way");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));
    let moves = format!("{} move --json --data {}", env!("CARGO_BIN_EXE_wharfinger"), data.path().display());
    let to = format!("--to-blobs {} --endpoint {} --access-key {}", place.url, place.endpoint, place.id);
    let report = user.json(&format!("{moves} {to} --secret-key-file {}", secret.display()));
    assert_eq!(report["blobs"]["faulty"], serde_json::json!([]), "{report}");
    let settings = report["settings"].as_str().expect("a text").to_owned();
    drop(registry.stop());

    let registry = Server::configured_at(&address, data.path(), &settings);
    user.run(&format!("crane validate --remote {}", registry.at("team/app:1")));
    user.run(&format!("crane push app {}", registry.at("team/app:2")));
    drop(registry.stop());
    let new = user.path("new.toml");
    std::fs::write(&new, settings).expect("a file");
    user.run(&format!("{moves} --to-blobs file --config {}", new.display()));
    let registry = Server::configured_at(&address, data.path(), "");
    let checked = registry.says("check --read");
    assert!(checked.ends_with(": nothing missing"), "{checked}");
    user.run(&format!("crane validate --remote {}", registry.at("team/app:2")));
}

#[test]
fn docker_runs_an_image_from_azure() {
    let user = Terminal::open();
    docker_runs_an_image(&Server::configured(&settings(&user, "docker")), "from a container");
}
