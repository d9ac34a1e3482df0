//! Tests of the database on a real server of PostgreSQL.

use std::time::{Duration, Instant};

use super::super::fixtures::postgres::{SERVER, Server, psql, unused_port, with_schema};
use super::super::fixtures::{by_tag, digest, manifest, name, put, tagged};
use super::super::{Metadata, SCHEMA_VERSION};
use super::*;
use accounts::Visible;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// A schema of its own, and the directory of its files.
struct Place {
    url: DatabaseUrl,
    text: String,
    directory: TempDir,
}

impl Place {
    fn new(schema: &str) -> Self {
        Self::on(&SERVER, schema)
    }

    fn on(server: &Server, schema: &str) -> Self {
        let text = with_schema(&server.url(), schema);
        let url = DatabaseUrl::parse(&text).unwrap();
        Self { url, text, directory: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Result<Metadata, StoreError> {
        Metadata::connect(&self.url, self.directory.path())
    }

    fn refused(&self) -> String {
        self.open().err().expect("it must be refused").to_string()
    }
}

async fn repositories(metadata: &Metadata) -> usize {
    metadata.repositories(&Visible::Everything, None, 1_000).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_the_end_of_both() {
    let place = Place::new("survives");
    let metadata = place.open().unwrap();
    let puts: Vec<_> = (0..50)
        .map(|n| {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                put(&metadata, tagged(&format!("team/app{n}"), &format!("m{n}"), &["latest"])).await;
                metadata.manifest(&name(&format!("team/app{n}")), &by_tag("latest")).await.unwrap().unwrap()
            })
        })
        .collect();
    for (n, put) in puts.into_iter().enumerate() {
        assert_eq!(put.await.unwrap().digest, digest(&format!("m{n}")));
    }
    let id = metadata.id().to_owned();
    metadata.close().await;
    let metadata = place.open().unwrap();
    assert_eq!((metadata.id(), repositories(&metadata).await), (&*id, 50));
}

#[tokio::test]
async fn second_server_is_refused_until_the_first_ends() {
    let place = Place::new("second");
    let metadata = place.open().unwrap();
    let refused = place.refused();
    assert!(refused.contains("another server uses it"), "{refused}");
    metadata.close().await;
    place.open().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_postgres_is_used_again() {
    let server = Server::start(unused_port());
    let place = Place::on(&server, "restarted");
    let metadata = place.open().unwrap();
    let mut acknowledged = 0;
    for mode in ["fast", "immediate"] {
        for _ in 0..10 {
            put(&metadata, tagged(&format!("app{acknowledged}"), &format!("m{acknowledged}"), &["latest"]))
                .await;
            acknowledged += 1;
        }
        server.restart(mode);
        let begun = Instant::now();
        // The first operations may still meet the broken connection.
        while let Err(error) = metadata.put_manifest(manifest("after", mode)).await {
            assert!(error.is_away(), "{error}");
            assert!(begun.elapsed() < DEADLINE, "{error}");
        }
        assert_eq!(repositories(&metadata).await, acknowledged + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_postgres_fails_requests_until_it_is_back() {
    let server = Server::start(unused_port());
    let place = Place::on(&server, "stopped");
    let metadata = place.open().unwrap();
    put(&metadata, manifest("app", "one")).await;
    server.stop("fast");
    let written = metadata.put_manifest(manifest("app", "two")).await.unwrap_err();
    let read = metadata.repository_exists(&name("app")).await.unwrap_err();
    assert!(written.is_away() && read.is_away(), "{written}; {read}");
    server.launch();
    put(&metadata, manifest("app", "two")).await;
    assert!(metadata.repository_exists(&name("app")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_lost_the_right_to_write_keeps_still() {
    let place = Place::new("lost");
    let metadata = place.open().unwrap();
    put(&metadata, manifest("app", "one")).await;
    let sessions = "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_namespace n ON n.oid = l.objid \
                    WHERE l.locktype = 'advisory' AND n.nspname = 'lost'";
    assert_eq!(psql(&SERVER.url(), sessions), "t");
    let other = place.open().unwrap();
    put(&other, manifest("app", "two")).await;
    let refused = metadata.put_manifest(manifest("app", "three")).await.unwrap_err();
    assert!(refused.is_away(), "{refused}");
    other.close().await;
    let refused = metadata.put_manifest(manifest("app", "three")).await.unwrap_err();
    assert!(refused.to_string().contains("another server has used the database"), "{refused}");
    assert_eq!(metadata.manifests(&name("app"), None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn failed_operation_fails_alone() {
    let metadata = Place::new("alone").open().unwrap();
    let write = |metadata: &Metadata, name: &'static str| {
        let metadata = metadata.clone();
        async move {
            let insert = "INSERT INTO repositories (name, manifests, updated_at) VALUES (?1, 1, 0)";
            let written = metadata.write(Durability::Disk, move |sql| {
                sql.run(insert, params![name])?;
                // An operation that ignores an error cannot commit a part of its changes.
                let _ = sql.run(insert, params!["twice"]);
                Ok(())
            });
            written.await
        }
    };
    let all = tokio::join!(write(&metadata, "a"), write(&metadata, "b"), write(&metadata, "c"));
    assert!([all.0.is_ok(), all.1.is_ok(), all.2.is_ok()].iter().filter(|ok| **ok).count() == 1, "{all:?}");
    let alone = write(&metadata, "d").await.unwrap_err();
    assert!(matches!(alone, StoreError::Damaged(_)), "{alone}");
    assert_eq!(repositories(&metadata).await, 2);
}

#[tokio::test]
async fn database_of_another_program_is_refused() {
    let place = Place::new("foreign");
    psql(
        &place.text,
        "CREATE TABLE schema_migrations (version BIGINT); INSERT INTO schema_migrations VALUES (3)",
    );
    let refused = place.refused();
    assert!(refused.contains("another program"), "{refused}");
    assert!(!refused.contains("postgres@"), "{refused}");
}

#[tokio::test]
async fn newer_database_is_refused() {
    let place = Place::new("newer");
    place.open().unwrap().close().await;
    psql(&place.text, &format!("INSERT INTO schema_migrations VALUES ({}, 'later', 0)", SCHEMA_VERSION + 1));
    let refused = place.refused();
    assert!(refused.contains("newer version"), "{refused}");
}

#[tokio::test]
async fn nul_in_a_text_becomes_another_character() {
    let metadata = Place::new("nul").open().unwrap();
    let image = super::super::PutManifest { description: Some("a\0b".to_owned()), ..manifest("app", "m") };
    put(&metadata, image).await;
    let listed = metadata.repositories(&Visible::Everything, None, 10).await.unwrap();
    assert_eq!(listed[0].description, "a\u{1}b");
}

#[test]
fn verified_server_has_a_known_certificate() {
    let connect = |query: String| {
        let url = DatabaseUrl::parse(&format!("{}?{query}", SERVER.url())).unwrap();
        let session = connect(&url)?;
        let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Sql::server(&session).first(encrypted, &[], |row| row.get::<bool>(0))
    };
    let known = format!("sslmode=verify-full&sslrootcert={}", SERVER.authority().display());
    assert_eq!(connect(known).unwrap(), Some(true));
    assert_eq!(connect("sslmode=prefer".to_owned()).unwrap(), Some(true));
    assert_eq!(connect("sslmode=disable".to_owned()).unwrap(), Some(false));
    let unknown = connect("sslmode=verify-full".to_owned()).unwrap_err().to_string();
    assert!(unknown.contains("certificate"), "{unknown}");
}

#[tokio::test]
async fn socket_of_the_machine_needs_no_name() {
    let url = DatabaseUrl::parse(&with_schema(&SERVER.socket_url(), "socket")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let metadata = Metadata::connect(&url, directory.path()).unwrap();
    put(&metadata, manifest("app", "m")).await;
    assert_eq!(repositories(&metadata).await, 1);
}

#[test]
fn unreachable_database_is_named_without_its_password() {
    let url = format!("postgres://ann:hidden@127.0.0.1:{}/images", unused_port());
    let directory = tempfile::tempdir().unwrap();
    let refused =
        Metadata::connect(&DatabaseUrl::parse(&url).unwrap(), directory.path()).err().unwrap().to_string();
    assert!(refused.contains("/images") && !refused.contains("hidden"), "{refused}");
}
