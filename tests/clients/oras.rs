//! oras: push, pull, attach, discover, copy, blobs and manifests one by one.

use crate::harness::{Image, Server, Terminal};

#[test]
fn oras_pushes_and_pulls_files() {
    let registry = Server::start();
    let user = Terminal::open();
    let notes = registry.at("team/notes:1");
    user.run("echo hello > notes.txt && mkdir chart && cp /usr/share/common-licenses/* chart/");

    user.run(&format!(
        "oras push --plain-http --artifact-type application/vnd.example.notes {notes} notes.txt:text/plain chart"
    ));
    user.run(&format!("oras pull --plain-http --output back {notes}"));

    user.run("diff notes.txt back/notes.txt && diff --recursive chart back/chart");
    let manifest = user.json(&format!("oras manifest fetch --plain-http {notes}"));
    assert_eq!("application/vnd.example.notes", manifest["artifactType"]);
}

#[test]
fn oras_discovers_referrers_without_fallback_tag() {
    let registry = Server::start();
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    let image = Image::saved(&user, "app", "attached to");
    user.run(&format!("crane push app {app}"));
    user.run("echo '{}' > sbom.json && echo fine > scan.txt");

    user.run(&format!(
        "oras attach --plain-http --artifact-type example/sbom {app} sbom.json:application/json"
    ));
    user.run(&format!("oras attach --plain-http --artifact-type example/scan {app} scan.txt:text/plain"));
    let all = user.json(&format!("oras discover --plain-http --format json {app}"));
    let scans =
        user.json(&format!("oras discover --plain-http --format json --artifact-type example/scan {app}"));

    assert_eq!(2, all["referrers"].as_array().map_or(0, Vec::len), "{all}");
    assert_eq!("example/scan", scans["referrers"][0]["artifactType"], "{scans}");
    assert_eq!(1, scans["referrers"].as_array().map_or(0, Vec::len), "{scans}");
    // A client that finds no referrers API pushes a fallback tag instead.
    assert_eq!("1", user.run(&format!("oras repo tags --plain-http {}", registry.at("team/app"))));
    let answer =
        user.run(&format!("curl -sSfi http://{}/v2/team/app/referrers/{}", registry.address(), image.digest));
    assert!(answer.contains("application/vnd.oci.image.index.v1+json"), "{answer}");
}

#[test]
fn oras_copies_an_image_with_its_referrers() {
    let registry = Server::start();
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    let copy = registry.at("released/app:1");
    Image::saved(&user, "app", "copied with its papers");
    user.run(&format!("crane push app {app}"));
    user.run("echo '{}' > sbom.json && echo signed > signature");
    user.run(&format!(
        "oras attach --plain-http --artifact-type example/sbom {app} sbom.json:application/json"
    ));
    let sbom =
        user.json(&format!("oras discover --plain-http --format json {app}"))["referrers"][0]["digest"]
            .clone();
    let sbom = sbom.as_str().expect("a referrer has a digest");
    user.run(&format!(
        "oras attach --plain-http --artifact-type example/signature {}@{sbom} signature:text/plain",
        registry.at("team/app")
    ));

    user.run(&format!("oras cp --recursive --from-plain-http --to-plain-http {app} {copy}"));

    let tree = user.json(&format!("oras discover --plain-http --format json {copy}"));
    assert_eq!("example/sbom", tree["referrers"][0]["artifactType"], "{tree}");
    assert_eq!("example/signature", tree["referrers"][0]["referrers"][0]["artifactType"], "{tree}");
}

#[test]
fn oras_handles_single_blobs_and_manifests() {
    let registry = Server::start();
    let user = Terminal::open();
    let parts = registry.at("team/parts");
    user.run("printf %s '{}' > config && printf %s content > blob");
    for file in ["config", "blob"] {
        user.run(&format!(
            "oras blob push --plain-http {parts}@sha256:$(sha256sum {file} | cut -d' ' -f1) {file}"
        ));
    }
    let digest = user.run("echo sha256:$(sha256sum blob | cut -d' ' -f1)");
    user.run(&format!(
        r#"printf '{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"example/part","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:%s","size":2}},"layers":[{{"mediaType":"text/plain","digest":"{digest}","size":7}}]}}' $(sha256sum config | cut -d' ' -f1) > manifest"#
    ));

    user.run(&format!("oras manifest push --plain-http {parts}:1 manifest"));
    user.run(&format!("oras manifest fetch --plain-http --output served {parts}:1 && cmp manifest served"));
    assert_eq!("content", user.run(&format!("oras blob fetch --plain-http --output - {parts}@{digest}")));

    user.run(&format!("oras manifest delete --plain-http --force {parts}:1"));
    user.fails(&format!("oras manifest fetch --plain-http {parts}:1"));
    user.run(&format!("oras blob delete --plain-http --force {parts}@{digest}"));
    user.fails(&format!("oras blob fetch --plain-http --output - {parts}@{digest}"));
}

#[test]
fn oras_lists_repositories() {
    let registry = Server::start();
    let user = Terminal::open();
    user.run("echo hello > notes.txt");
    for name in ["team/notes", "other/notes"] {
        user.run(&format!("oras push --plain-http {}:1 notes.txt", registry.at(name)));
    }

    assert_eq!(
        "other/notes\nteam/notes",
        user.run(&format!("oras repo ls --plain-http {}", registry.address()))
    );
}
