//! The manifests by which BuildKit keeps a build cache in a registry. BuildKit itself isn't run: these are its two
//! forms, an index of blobs (`image-manifest=false`) and an image manifest (`image-manifest=true`), sent by hand.

use serde_json::json;

use crate::harness::{Server, Terminal};

const CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[test]
fn a_cache_kept_as_an_image_manifest_is_imported_again() {
    let registry = Server::start();
    let user = Terminal::open();
    cache_files(&user);
    let cache = registry.at("team/app:buildcache");

    user.run(&format!("oras push --plain-http --config config.json:{CONFIG} {cache} layer.tar.gz:{LAYER}"));
    user.run(&format!("oras pull --plain-http --output back --config kept.json {cache}"));

    user.run("cmp layer.tar.gz back/layer.tar.gz && cmp config.json back/kept.json");
}

#[test]
fn a_cache_kept_as_an_index_of_blobs_is_imported_again() {
    let registry = Server::start();
    let user = Terminal::open();
    cache_files(&user);
    let name = registry.at("team/app");
    let descriptor = |file: &str, media_type: &str| {
        user.run(&format!("oras blob push --plain-http {name}@$(cat {file}.digest) {file}"));
        json!({
            "mediaType": media_type,
            "digest": user.run(&format!("cat {file}.digest")),
            "size": user.reads(file).len(),
        })
    };
    // What BuildKit lists as manifests here are a layer and its own configuration: blobs, both of them.
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("layer.tar.gz", LAYER), descriptor("config.json", CONFIG)],
    });
    std::fs::write(user.path("index.json"), index.to_string()).expect("a manifest can be written");

    user.run(&format!("oras manifest push --plain-http {name}:buildcache index.json"));

    user.run(&format!(
        "oras manifest fetch --plain-http --output back.json {name}:buildcache && cmp index.json back.json"
    ));
    for file in ["layer.tar.gz", "config.json"] {
        user.run(&format!(
            "oras blob fetch --plain-http --output back {name}@$(cat {file}.digest) && cmp {file} back"
        ));
    }
}

/// A layer and a cache configuration, each with its digest in a file beside it.
fn cache_files(user: &Terminal) {
    user.run("tar --create --gzip --file layer.tar.gz --directory /usr/share common-licenses");
    let layer = user.run("echo sha256:$(sha256sum layer.tar.gz | cut -d' ' -f1)");
    let config = json!({
        "layers": [{"blob": layer, "parent": -1}],
        "records": [{"digest": layer, "results": [{"layer": 0, "createdAt": "2024-01-01T00:00:00Z"}]}],
    });
    std::fs::write(user.path("config.json"), config.to_string())
        .expect("a cache configuration can be written");
    for file in ["layer.tar.gz", "config.json"] {
        user.run(&format!("echo sha256:$(sha256sum {file} | cut -d' ' -f1) > {file}.digest"));
    }
}
