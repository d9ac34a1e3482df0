//! skopeo: copy, inspect, list-tags, delete, sync.

use crate::harness::{Image, Index, Server, Terminal};

#[test]
fn skopeo_copies_byte_for_byte() {
    let registry = Server::start();
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    let image = Image::saved(&user, "app", "there and back");

    user.run(&format!("skopeo copy --dest-tls-verify=false oci:app:latest docker://{app}"));
    user.run(&format!("skopeo copy --src-tls-verify=false docker://{app} oci:back:latest"));

    user.run("diff --recursive app/blobs back/blobs");
    let seen = user.json(&format!("skopeo inspect --tls-verify=false docker://{app}"));
    assert_eq!(image.digest, seen["Digest"]);
    assert_eq!("A small system to start from", seen["Labels"]["org.opencontainers.image.description"]);
    assert_eq!(4, seen["Layers"].as_array().map_or(0, Vec::len));
}

#[test]
fn skopeo_converts_an_image_while_copying() {
    let registry = Server::start();
    let user = Terminal::open();
    Image::saved(&user, "app", "converted");

    for how in ["--format v2s2", "--dest-compress-format zstd --dest-compress"] {
        let app = registry.at("team/converted:1");
        user.run(&format!("skopeo copy {how} --dest-tls-verify=false oci:app:latest docker://{app}"));
        user.run(&format!("rm -rf back && skopeo copy --src-tls-verify=false docker://{app} dir:back"));
    }
}

#[test]
fn skopeo_lists_tags_and_deletes_an_image() {
    let registry = Server::start();
    let user = Terminal::open();
    let name = registry.at("team/app");
    for tag in ["old", "new"] {
        Image::saved(&user, tag, tag);
        user.run(&format!("skopeo copy --dest-tls-verify=false oci:{tag}:latest docker://{name}:{tag}"));
    }

    user.run(&format!("skopeo delete --tls-verify=false docker://{name}:old"));

    let tags = user.json(&format!("skopeo list-tags --tls-verify=false docker://{name}"));
    assert_eq!(serde_json::json!(["new"]), tags["Tags"]);
    user.fails(&format!("skopeo inspect --tls-verify=false docker://{name}:old"));
    user.run(&format!("skopeo copy --src-tls-verify=false docker://{name}:new dir:kept"));
}

#[test]
fn skopeo_syncs_a_multi_platform_image() {
    let registry = Server::start();
    let user = Terminal::open();
    let name = registry.at("team/everywhere");
    let index = Index::flat(&user, "everywhere", "synced");
    user.run(&format!("skopeo copy --all --dest-tls-verify=false oci:everywhere:latest docker://{name}:1"));

    user.run(&format!("skopeo sync --all --src-tls-verify=false --src docker --dest dir {name} synced"));
    user.run(&format!(
        "skopeo sync --all --dest-tls-verify=false --src dir --dest docker synced {}",
        registry.at("again")
    ));

    for copy in ["team/everywhere:1", "again/everywhere:1"] {
        let manifest = format!("skopeo inspect --raw --tls-verify=false docker://{}", registry.at(copy));
        assert_eq!(
            index.digest,
            user.run(&format!("{manifest} | skopeo manifest-digest /dev/stdin")),
            "{copy}"
        );
    }
    for part in &index.parts {
        user.run(&format!(
            "skopeo inspect --tls-verify=false docker://{}@{part}",
            registry.at("again/everywhere")
        ));
    }
}
