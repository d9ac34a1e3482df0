//! regctl: image copy with referrers, tags, blobs, artifacts, import and export.

use crate::harness::{Image, Index, Server, Terminal};

#[test]
fn regctl_copies_an_image_with_referrers() {
    let (here, there) = (Server::start(), Server::start());
    let user = terminal(&[&here, &there]);
    let app = here.at("team/app:1");
    let copy = there.at("mirror/app:1");
    let index = Index::flat(&user, "app", "goes elsewhere");
    user.run(&format!("regctl image copy ocidir://app:latest {app}"));
    user.run(&format!("echo '{{}}' | regctl artifact put --artifact-type example/sbom --subject {app}"));

    user.run(&format!("regctl image copy --referrers {app} {copy}"));

    assert_eq!(index.digest, user.run(&format!("regctl image digest {copy}")));
    let referrers = user.json(&format!("regctl artifact list --format '{{{{json .Manifest}}}}' {copy}"));
    assert_eq!("example/sbom", referrers["manifests"][0]["artifactType"], "{referrers}");
    assert_eq!("1", user.run(&format!("regctl tag ls {}", there.at("mirror/app"))));
    assert_eq!(
        "{}",
        user.run(&format!("regctl artifact get --subject {copy} --filter-artifact-type example/sbom"))
    );
}

#[test]
fn regctl_tag_delete_keeps_other_tags() {
    let registry = Server::start();
    let user = terminal(&[&registry]);
    let name = registry.at("team/app");
    Image::saved(&user, "app", "two tags");
    user.run(&format!("regctl image copy ocidir://app:latest {name}:1"));
    user.run(&format!("regctl image copy {name}:1 {name}:2"));

    user.run(&format!("regctl tag delete {name}:1"));

    assert_eq!("2", user.run(&format!("regctl tag ls {name}")));
    user.run(&format!("regctl image export {name}:2 image.tar"));
}

#[test]
fn regctl_puts_gets_and_deletes_blobs() {
    let registry = Server::start();
    let user = terminal(&[&registry]);
    let name = registry.at("team/parts");
    user.run("openssl rand 3000000 > noise");

    let digest = user.run(&format!("regctl blob put {name} < noise"));
    user.run(&format!("regctl blob head {name} {digest}"));
    user.run(&format!("regctl blob get {name} {digest} > back && cmp noise back"));
    user.run(&format!("regctl blob copy {name} {} {digest}", registry.at("team/more")));
    user.run(&format!("regctl blob delete {name} {digest}"));

    user.fails(&format!("regctl blob head {name} {digest}"));
    user.run(&format!("regctl blob get {} {digest} > back && cmp noise back", registry.at("team/more")));
}

#[test]
fn regctl_imports_an_exported_image() {
    let registry = Server::start();
    let user = terminal(&[&registry]);
    let (app, again) = (registry.at("team/app:1"), registry.at("team/again:1"));
    let image = Image::saved(&user, "app", "exported");
    user.run(&format!("regctl image copy ocidir://app:latest {app}"));

    user.run(&format!("regctl image export {app} app.tar && regctl image import {again} app.tar"));

    assert_eq!(image.digest, user.run(&format!("regctl image digest {again}")));
    assert_eq!("team/again\nteam/app", user.run(&format!("regctl repo ls {}", registry.address())));
}

#[test]
fn regctl_pushes_a_blob_in_chunks() {
    let registry = Server::start();
    let user = terminal(&[&registry]);
    // Below this size, a blob is pushed in one request.
    user.run(&format!("regctl registry set --blob-chunk 100000 --blob-max 200000 {}", registry.address()));
    user.run("openssl rand 1000000 > noise");

    let digest = user.run(&format!("regctl blob put {} < noise", registry.at("team/parts")));

    user.run(&format!("regctl blob get {} {digest} > back && cmp noise back", registry.at("team/parts")));
}

/// Opens a terminal in which regctl uses plain HTTP for these registries.
fn terminal(registries: &[&Server]) -> Terminal {
    let terminal = Terminal::open();
    for registry in registries {
        terminal.run(&format!("regctl registry set --tls disabled {}", registry.address()));
    }
    terminal
}
