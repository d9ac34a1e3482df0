//! A registry with its metadata in PostgreSQL: docker, crane and skopeo, with blobs in files and in a bucket.

use crate::harness::postgres::{SERVER, psql, with_schema};
use crate::harness::{ObjectStore, Server, docker_runs_an_image, images_are_copied_and_collected};

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
    let user = docker_runs_an_image(&registry, "listed in a database");
    let found = user.run(&format!("docker search {}", registry.at("ubuntu")));
    assert!(found.contains("official/ubuntu"), "{found}");
    assert_eq!(query("docker", "SELECT name FROM tags"), "14.04");
}

#[test]
fn images_in_postgres_and_a_bucket_are_collected() {
    let store = ObjectStore::start();
    let registry = Server::configured(&format!("{}{}", in_schema("bucket"), store.settings("a")));
    images_are_copied_and_collected(&registry, &store, "a");
    assert_eq!(query("bucket", "SELECT name FROM tags"), "1");
}
