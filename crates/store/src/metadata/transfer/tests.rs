//! Tests of the transfer, with a real server of PostgreSQL.

use accounts::Visible;
use tempfile::TempDir;

use super::super::fixtures::postgres::{SERVER, psql, with_schema};
use super::super::fixtures::{by_tag, digest, in_file, layer, manifest, name, put, tagged};
use super::super::{Metadata, PutManifest, SCHEMA_VERSION};
use super::*;

struct Server {
    url: DatabaseUrl,
    text: String,
    own: TempDir,
}

impl Server {
    fn new(schema: &str) -> Self {
        let text = with_schema(&SERVER.url(), schema);
        Self { url: DatabaseUrl::parse(&text).unwrap(), text, own: tempfile::tempdir().unwrap() }
    }

    fn place(&self) -> DatabasePlace {
        DatabasePlace::Server(Box::new(self.url.clone()))
    }

    fn open(&self) -> Metadata {
        Metadata::connect(&self.url, self.own.path()).unwrap()
    }
}

/// Metadata with rows in many tables: images, trash, quotas' triggers, history, search, text with a NUL.
async fn filled() -> (Metadata, TempDir) {
    let (metadata, directory) = in_file();
    for n in 0..700 {
        let image = PutManifest {
            description: Some(format!("image {n}\0 with a NUL")),
            ..tagged(&format!("team/app{n}"), &format!("m{n}"), &["latest", "v1"])
        };
        put(&metadata, image).await;
    }
    metadata.link_blob(&name("team/app1"), &digest("layer"), 100).await.unwrap();
    put(&metadata, PutManifest { parts: vec![layer("layer")], ..manifest("team/app1", "image") }).await;
    // The highest id of a table is free again, and is not used again.
    metadata.delete_manifest(&name("team/app699"), &digest("m699")).await.unwrap();
    (metadata, directory)
}

async fn names(metadata: &Metadata) -> Vec<(String, String)> {
    let listed = metadata.repositories(&Visible::Everything, None, 10_000).await.unwrap();
    listed.into_iter().map(|found| (found.name.to_string(), found.description)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_go_to_postgres_and_back() {
    let (metadata, directory) = filled().await;
    let (before, id) = (names(&metadata).await, metadata.id().to_owned());
    let newest = metadata.changes().newest();
    let file = DatabasePlace::File(directory.path().join("metadata.db"));
    let frozen = metadata.freeze().await.unwrap();
    let server = Server::new("transfer");
    let there = copy(&file, &server.place(), true, |_| {}).unwrap();
    let rows = |name: &str| there.iter().find(|table| table.name == name).unwrap().rows;
    assert_eq!((rows("identity"), rows("manifests")), (1, 700));
    drop(frozen);

    // Nobody else uses an unfinished copy; this registry does.
    let refused = check_server(&server.url, Some("another")).unwrap_err().to_string();
    assert!(refused.contains("unfinished"), "{refused}");
    check_server(&server.url, Some(&id)).unwrap();
    let moved = server.open();
    assert_eq!(moved.id(), id);
    let expected: Vec<_> =
        before.iter().map(|(name, text)| (name.clone(), text.replace('\0', "\u{1}"))).collect();
    assert_eq!(names(&moved).await, expected);
    assert_eq!(moved.changes().newest(), newest);
    put(&moved, tagged("team/new", "new", &["latest"])).await;
    assert!(moved.changes().newest() > newest, "ids go on after the last one");
    moved.freeze().await.unwrap().keep();

    let back = tempfile::tempdir().unwrap();
    let path = back.path().join("metadata.db");
    let here = copy(&server.place(), &DatabasePlace::File(path.clone()), true, |_| {}).unwrap();
    assert_eq!(here.iter().find(|table| table.name == "manifests").unwrap().rows, 701);
    let here = Metadata::open(&path).unwrap();
    assert_eq!(here.id(), id);
    assert!(here.manifest(&name("team/new"), &by_tag("latest")).await.unwrap().is_some());
    assert_eq!(here.changes().newest(), moved.changes().newest());
    put(&here, tagged("team/newer", "newer", &["latest"])).await;
    here.close().await;
    moved.close().await;
    metadata.close().await;
}

#[tokio::test]
async fn targets_in_use_are_refused() {
    let reason = |server: &Server, id: &str| check_target(&server.place(), id).unwrap_err().to_string();
    let other = Server::new("transfer_other");
    let used = other.open();
    let id = used.id().to_owned();
    used.close().await;
    assert!(reason(&other, "1").contains("has the metadata of a registry"));
    // A registry whose data directory is not known has the same id. It is not overwritten.
    assert!(reason(&other, &id).contains("has the metadata of a registry"));
    mark_departed(&other.url, "a file").unwrap();
    check_target(&other.place(), &id).unwrap();
    let refused = check_server(&other.url, Some(&id)).unwrap_err().to_string();
    assert!(refused.contains("was moved to a file"), "{refused}");

    let foreign = Server::new("transfer_foreign");
    psql(&foreign.text, "CREATE TABLE things (a INT)");
    assert!(reason(&foreign, "1").contains("it has tables, such as things"));

    let begun = Server::new("transfer_begun");
    marks::begin(&begun.url, "1").unwrap();
    check_target(&begun.place(), "1").unwrap();
    assert!(reason(&begun, "2").contains("unfinished copy of another registry"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_copy_begins_again() {
    let (metadata, directory) = filled().await;
    let file = DatabasePlace::File(directory.path().join("metadata.db"));
    let server = Server::new("transfer_again");
    let id = metadata.id().to_owned();
    // Interrupted after the schema, and after the copy.
    marks::begin(&server.url, &id).unwrap();
    server.open().close().await;
    let first = copy(&file, &server.place(), true, |_| {}).unwrap();
    put(&metadata, manifest("later", "later")).await;
    let second = copy(&file, &server.place(), true, |_| {}).unwrap();
    let manifests = |tables: &[CopiedTable]| {
        tables.iter().find(|table| table.name == "manifests").map(|table| table.rows)
    };
    assert_eq!((manifests(&first), manifests(&second)), (Some(700), Some(701)));

    let target = tempfile::tempdir().unwrap().keep().join("copy.db");
    std::fs::write(&target, "an interrupted copy").unwrap();
    copy(&file, &DatabasePlace::File(target.clone()), false, |_| {}).unwrap();
    let copied = Metadata::open(&target).unwrap();
    assert_eq!(copied.newest_journaled().await.unwrap(), None);
    metadata.close().await;
}

#[tokio::test]
async fn schemas_have_the_same_tables() {
    let (metadata, directory) = in_file();
    let server = Server::new("transfer_schema");
    server.open().close().await;
    let file = Source::open(&DatabasePlace::File(directory.path().join("metadata.db"))).unwrap();
    let other = Source::open(&server.place()).unwrap();
    let tables = |source: &Source| shared_tables(source.sql()).unwrap();
    assert_eq!(tables(&file), tables(&other), "schema {SCHEMA_VERSION}");
    assert_eq!(tables(&file).len(), 45, "a new table is copied as well: raise this number");
    metadata.close().await;
}
