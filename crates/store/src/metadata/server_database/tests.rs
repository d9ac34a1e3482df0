//! Tests of the database on a real server of PostgreSQL.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::fixtures::postgres::{
    SERVER, Server, Suspended, psql, unused_port, with_schema, with_settings, writer,
};
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

    /// The same schema with settings of the sessions, such as `lock_timeout=200`.
    fn with_settings(schema: &str, settings: &[&str]) -> Self {
        let Self { text, directory, .. } = Self::new(schema);
        Self { url: DatabaseUrl::parse(&with_settings(&text, settings)).unwrap(), text, directory }
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

/// The answers to statements that were sent come later than the statements, and count for their operation.
#[tokio::test]
async fn operation_fails_alone_with_a_statement_that_was_sent() {
    let metadata = Place::new("sent").open().unwrap();
    const INSERT: &str = "INSERT INTO repositories (name, manifests, updated_at) VALUES (?1, 1, 0)";
    let write = |names: &'static [&'static str]| {
        let metadata = metadata.clone();
        async move {
            let written = metadata.write(Durability::Disk, move |sql| {
                names.iter().try_for_each(|name| sql.send(INSERT, params![name]))
            });
            written.await
        }
    };
    let all =
        tokio::join!(write(&["a", "twice"]), write(&["twice", "b"]), write(&["c", "twice"]), write(&["d"]));
    let acknowledged = [&all.0, &all.1, &all.2].iter().filter(|written| written.is_ok()).count();
    assert!(acknowledged == 1 && all.3.is_ok(), "{all:?}");
    assert_eq!(repositories(&metadata).await, 3);
    let error = write(&["e", "twice", "f"]).await.unwrap_err();
    assert!(error.to_string().contains("duplicate key"), "{error}");
    let waiting = metadata.write(Durability::Disk, |sql| {
        sql.send(INSERT, params!["twice"])?;
        sql.run(INSERT, params!["g"])
    });
    let error = waiting.await.unwrap_err();
    assert!(error.to_string().contains("duplicate key"), "the cause, and not its consequence: {error}");
    assert_eq!(repositories(&metadata).await, 3);
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

/// Puts a manifest once the database takes writes.
async fn put_eventually(metadata: &Metadata, repository: &str, content: &str) {
    let begun = Instant::now();
    while let Err(error) = metadata.put_manifest(manifest(repository, content)).await {
        assert!(begun.elapsed() < DEADLINE, "{error}");
    }
}

#[test]
fn sessions_have_timeouts_unless_the_url_sets_them() {
    let settings = |place: &Place| {
        let session = connect(&place.url).unwrap();
        let names = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"];
        names.map(|name| {
            let setting = format!("SELECT current_setting('{name}')");
            Sql::server(&session).first(&setting, &[], |row| row.get::<String>(0)).unwrap().unwrap()
        })
    };
    assert_eq!(settings(&Place::new("timeouts")), ["5s", "30s", "1min"]);
    let own = Place::with_settings("timeouts", &["statement_timeout=2min", "lock_timeout=7s"]);
    assert_eq!(settings(&own), ["7s", "2min", "1min"]);
}

#[tokio::test]
async fn locked_row_fails_the_operations_that_need_it() {
    let place = Place::with_settings("locked", &["lock_timeout=200"]);
    let metadata = place.open().unwrap();
    put(&metadata, manifest("app", "one")).await;
    let other = connect(&place.url).unwrap();
    other.begin("BEGIN; UPDATE repositories SET updated_at = 0 WHERE name = 'app'").unwrap();
    let writes = tokio::join!(
        metadata.put_manifest(manifest("app", "two")),
        metadata.put_manifest(manifest("other", "two")),
    );
    assert!(writes.0.unwrap_err().is_locked());
    writes.1.unwrap();
    other.rollback().unwrap();
    put(&metadata, manifest("app", "two")).await;
}

#[tokio::test]
async fn locked_version_fails_only_the_operations_that_wait_for_it() {
    let place = Place::with_settings("locked_version", &["lock_timeout=200"]);
    let metadata = place.open().unwrap();
    let other = connect(&place.url).unwrap();
    other.begin("BEGIN; UPDATE writer SET version = version").unwrap();
    assert!(metadata.put_manifest(manifest("app", "one")).await.unwrap_err().is_locked());
    other.rollback().unwrap();
    put(&metadata, manifest("app", "one")).await;
}

#[tokio::test]
async fn long_statement_is_ended_unless_it_may_take_long() {
    let place = Place::with_settings("statement", &["statement_timeout=500"]);
    let metadata = place.open().unwrap();
    const SLEEP: &str = "SELECT CAST(pg_sleep(?1) AS TEXT)";
    let sleep = |sql: Sql<'_>, seconds: i64| sql.first(SLEEP, params![seconds], |_| Ok(()));
    let read = metadata.read(move |sql| sleep(sql, 60)).await;
    let written = metadata.write(Durability::Disk, move |sql| sleep(sql, 60)).await;
    assert!(read.unwrap_err().is_locked() && written.unwrap_err().is_locked());
    metadata.write(Durability::Bulk, move |sql| sleep(sql, 2)).await.unwrap();
    let written = metadata.write(Durability::Disk, move |sql| sleep(sql, 60)).await;
    assert!(written.unwrap_err().is_locked(), "also after one that may");
    put(&metadata, manifest("app", "one")).await;
}

#[test]
fn transaction_of_a_suspended_server_ends() {
    let place = Place::with_settings("suspended", &["idle_in_transaction_session_timeout=500"]);
    let [suspended, other] = [(); 2].map(|()| connect(&place.url).unwrap());
    other.script("CREATE TABLE rows (id BIGINT); INSERT INTO rows VALUES (1)").unwrap();
    suspended.begin("BEGIN; UPDATE rows SET id = 2").unwrap();
    other.script("UPDATE rows SET id = 3").unwrap();
    assert!(suspended.script("UPDATE rows SET id = 4").unwrap_err().is_away());
    assert_eq!(psql(&place.text, "SELECT id FROM rows"), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_process_of_postgres_fails_requests() {
    let place = Place::with_settings("stuck", &["statement_timeout=1000"]);
    let metadata = place.open().unwrap();
    put(&metadata, manifest("app", "one")).await;
    let suspended = Suspended::new(writer(&place.text));
    for _ in 0..2 {
        let refused = metadata.put_manifest(manifest("app", "two")).await.unwrap_err();
        assert!(refused.is_away(), "{refused}");
    }
    assert!(metadata.repository_exists(&name("app")).await.unwrap(), "reads go on");
    drop(suspended);
    put_eventually(&metadata, "app", "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_without_an_answer_is_announced_later() {
    let place = Place::with_settings("unknown", &["statement_timeout=1000", "lock_timeout=1h"]);
    let metadata = place.open().unwrap();
    let is_unknown = Arc::new(AtomicBool::new(false));
    metadata.on_commit({
        let is_unknown = is_unknown.clone();
        move |commit| is_unknown.store(commit.is_unknown, Ordering::Release)
    });
    // The commit waits for a lock. PostgreSQL has no time-out for a commit itself.
    psql(
        &place.text,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON manifests DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION wait()",
    );
    let other = connect(&place.url).unwrap();
    other.script("SELECT pg_advisory_lock(7)").unwrap();
    assert!(metadata.put_manifest(manifest("app", "one")).await.unwrap_err().is_away());
    assert!(!metadata.repository_exists(&name("app")).await.unwrap());
    assert!(!is_unknown.load(Ordering::Acquire), "the transaction may still be committed");
    other.script("SELECT pg_advisory_unlock(7)").unwrap();
    let begun = Instant::now();
    // No operation asks for it.
    while !is_unknown.load(Ordering::Acquire) {
        assert!(begun.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
    assert!(metadata.repository_exists(&name("app")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operation_that_waits_too_long_is_refused() {
    let place = Place::with_settings("turn", &["statement_timeout=1000"]);
    let metadata = place.open().unwrap();
    let (begin, begun) = std::sync::mpsc::channel();
    let busy = tokio::spawn({
        let metadata = metadata.clone();
        async move {
            let busy = metadata.write(Durability::Bulk, move |sql| {
                begin.send(()).unwrap();
                sql.first("SELECT CAST(pg_sleep(2) AS TEXT)", &[], |_| Ok(()))
            });
            busy.await
        }
    });
    begun.recv().unwrap();
    let refused = metadata.put_manifest(manifest("app", "one")).await.unwrap_err();
    assert!(refused.is_away() && refused.to_string().contains("busy"), "{refused}");
    busy.await.unwrap().unwrap();
    put(&metadata, manifest("app", "one")).await;
}

#[test]
fn server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://ann@127.0.0.1:{port}/images?connect_timeout=1");
    assert!(connect(&DatabaseUrl::parse(&url).unwrap()).err().unwrap().is_away());
}
