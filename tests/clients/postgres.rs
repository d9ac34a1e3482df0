//! A registry with its metadata in PostgreSQL: docker, crane and skopeo, with blobs in files and in a bucket.

use crate::harness::postgres::{SERVER, psql, with_schema};
use crate::harness::{Engine, Image, Index, ObjectStore, Server, Terminal};

/// Settings with a schema of their own. Deletions take effect with the next collection.
fn in_schema(schema: &str) -> String {
    format!("[gc]\ngrace = 0\n[metadata]\nurl = \"{}\"\n", with_schema(&SERVER.socket_url(), schema))
}

/// The result of a query in a schema.
fn query(schema: &str, sql: &str) -> String {
    psql(&with_schema(&SERVER.socket_url(), schema), sql)
}

#[test]
fn docker_runs_an_image_listed_in_postgres() {
    let registry = Server::configured(&in_schema("docker"));
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("official/ubuntu:14.04");
    engine.builds(&user, &image, "listed in a database");
    user.run(&format!("docker push {image}"));
    user.run(&format!("docker rmi {image}"));
    user.run(&format!("docker pull {image}"));
    user.run(&format!("docker run --rm --network=none {image}"));
    user.run(&format!("docker rmi {image}"));
    let found = user.run(&format!("docker search {}", registry.at("ubuntu")));
    assert!(found.contains("official/ubuntu"), "{found}");
    assert_eq!(query("docker", "SELECT name FROM tags"), "14.04");
}

#[test]
fn images_in_postgres_and_a_bucket_are_collected() {
    let store = ObjectStore::start();
    let settings = format!("{}{}", in_schema("bucket"), store.settings("a"));
    let registry = Server::configured(&settings);
    let user = Terminal::open();
    let (app, copy) = (registry.at("team/app:1"), registry.at("other/app:1"));
    let image = Image::saved(&user, "app", "in a bucket");
    Index::saved(&user, "everywhere", "in a bucket");
    user.run(&format!("crane push app {app}"));
    user.run(&format!("crane push --index everywhere {}", registry.at("team/everywhere:1")));
    user.run(&format!("crane copy {app} {copy}"));
    user.run(&format!(
        "skopeo copy --src-tls-verify=false docker://{copy} oci:skopeo:1 && \
         skopeo copy --dest-tls-verify=false oci:skopeo:1 docker://{}",
        registry.at("third/app:1")
    ));
    let digest = user.run(&format!("crane digest {copy}"));
    assert_eq!(image.digest, digest);
    let checked = registry.says("check --read");
    assert!(checked.ends_with(": nothing missing"), "{checked}");
    let before = store.keys("a").len();
    for name in ["team/app", "other/app", "third/app"] {
        user.run(&format!("crane delete {}@{digest}", registry.at(name)));
    }
    let told = registry.says("gc --now");
    assert!(told.contains("freed"), "{told}");
    assert!(store.keys("a").len() < before, "{told}");
    user.run(&format!("crane pull --format oci {} left", registry.at("team/everywhere:1")));
}
