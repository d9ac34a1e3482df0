//! A registry whose metadata are in PostgreSQL (`metadata.url`).

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::Method;
use wharfinger::config::Config;
use wharfinger::serve::{Front, Startup};

use crate::harness::postgres::{
    SERVER, Server, Suspended, psql, unused_port, with_schema, with_settings, writer,
};
use crate::harness::{TestRegistry, Who, blobs_in_files, eventually, metadata_in_a_file, with_accounts_and};

/// The settings of [`in_schema`], with blobs in files: those of [`refused`] name no bucket.
fn with_files_in_schema(schema: &'static str) -> impl FnOnce(&mut Config) {
    move |config| {
        blobs_in_files(config, "the directory says what belongs to it");
        in_schema(schema)(config);
    }
}

/// Settings with a schema of their own.
fn in_schema(schema: &'static str) -> impl FnOnce(&mut Config) {
    on(&SERVER, schema)
}

fn on(server: &Server, schema: &'static str) -> impl FnOnce(&mut Config) {
    at(with_schema(&server.url(), schema))
}

fn at(url: String) -> impl FnOnce(&mut Config) {
    move |config| config.metadata.url = Some(url.parse().unwrap())
}

/// The reason why a start fails.
async fn refused(registry: &TestRegistry, change: impl FnOnce(&mut Config)) -> String {
    let mut config =
        Config { data: registry.data(), listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    change(&mut config);
    Startup::new(&config, Front::Registry).open().await.err().expect("it must be refused").to_string()
}

#[tokio::test]
async fn images_stay_after_a_restart() {
    let mut registry = TestRegistry::start_with(in_schema("http_images")).await;
    let image = registry.repository("team/app").push_image("1.0").await;
    registry.repository("team/other").push_image("2.0").await;
    registry.restart().await;
    let app = registry.repository("team/app");
    assert_eq!(app.digest_of("1.0").await, image.digest);
    assert_eq!(registry.get("/v2/_catalog").await.is(200).list("repositories"), ["team/app", "team/other"]);
    let found = registry.get("/v1/search?q=oth").await.is(200).json();
    assert_eq!(found["results"][0]["name"], "team/other");
    app.delete(format_args!("manifests/{}", image.digest)).await.is(202);
    app.get("manifests/1.0").await.fails(404, "MANIFEST_UNKNOWN");
    assert!(!registry.data().join("wharfinger/metadata.db").exists());
}

#[tokio::test]
async fn deleted_account_loses_access_at_once() {
    let registry = with_accounts_and(in_schema("http_accounts")).await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    registry.repository("ann/app").of(&ann).push_image("1").await;
    let app = registry.repository("ann/app").of(&bob);
    app.get("manifests/1").await.fails(404, "NAME_UNKNOWN");
    registry.grant("bob", &["pull"], "ann/app").await;
    app.get("manifests/1").await.is(200);
    registry.ask_as(&Who::root(), Method::DELETE, "/api/v1/users/bob").await.is(204);
    app.get("manifests/1").await.is(401);
}

#[tokio::test]
async fn directory_belongs_to_its_database() {
    let mut registry = TestRegistry::start_with(with_files_in_schema("http_first")).await;
    registry.repository("app").push_image("1").await;
    registry.stop().await;
    let without = refused(&registry, |_| {}).await;
    assert!(without.contains("set metadata.url"), "{without}");
    let other = refused(&registry, in_schema("http_other")).await;
    assert!(other.contains("is another database"), "{other}");
    registry.run().await;
    registry.repository("app").get("manifests/1").await.is(200);
}

#[tokio::test]
async fn directory_with_a_file_gets_no_database() {
    let mut registry = TestRegistry::start_with(|config| {
        metadata_in_a_file(config, "the directory must have that file");
        blobs_in_files(config, "the directory says what belongs to it");
    })
    .await;
    registry.stop().await;
    let reason = refused(&registry, in_schema("http_file")).await;
    assert!(reason.contains("wharfinger move --to-metadata"), "{reason}");
}

#[tokio::test]
async fn content_without_its_database_is_refused() {
    let mut registry = TestRegistry::start_with(with_files_in_schema("http_lost")).await;
    registry.repository("app").push_image("1").await;
    registry.stop().await;
    std::fs::remove_file(registry.data().join("wharfinger/metadata")).unwrap();
    let reason = refused(&registry, in_schema("http_lost_2")).await;
    assert!(reason.contains("holds content of a registry, and the database"), "{reason}");
}

#[tokio::test]
async fn backup_of_the_server_is_refused() {
    let mut registry = TestRegistry::start_with(in_schema("http_backup")).await;
    registry.stop().await;
    let reason = refused(&registry, |config| {
        in_schema("http_backup")(config);
        config.backup.directory = Some("backups".into());
    });
    assert!(reason.await.contains("back up PostgreSQL with its own tools"));
}

#[tokio::test]
async fn stopped_postgres_gives_503_until_it_is_back() {
    let server = Server::start(unused_port());
    let registry = TestRegistry::start_with(on(&server, "http_stopped")).await;
    let app = registry.repository("app");
    app.push_image("1").await;
    app.get("manifests/1").await.is(200);
    server.stop("fast");
    app.get("manifests/1").await.is(200);
    registry.get("/readyz").await.is(503);
    registry.get("/v2/other/tags/list").await.is(503).has("retry-after", "5");
    server.launch();
    eventually("the registry writes again", async || registry.get("/v2/other/tags/list").await.status == 404)
        .await;
    registry.repository("app").push_image("2").await;
    assert_eq!(psql(&with_schema(&server.url(), "http_stopped"), "SELECT COUNT(*) FROM tags"), "2");
}

#[tokio::test]
async fn suspended_postgres_gives_503_to_writes() {
    let url = with_schema(&SERVER.url(), "http_suspended");
    let registry = TestRegistry::start_with(at(with_settings(&url, &["statement_timeout=1s"]))).await;
    let app = registry.repository("app");
    app.push_image("1").await;
    let suspended = Suspended::new(writer(&url));
    app.delete("manifests/1").await.is(503).has("retry-after", "5");
    app.get("tags/list").await.is(200);
    drop(suspended);
    eventually("the registry writes again", async || app.delete("manifests/1").await.status == 202).await;
    app.push_image("2").await;
}

#[tokio::test]
async fn revocation_without_an_answer_counts_later() {
    let url = with_schema(&SERVER.url(), "http_unknown");
    let settings = ["statement_timeout=1s", "lock_timeout=1h"];
    let registry = with_accounts_and(at(with_settings(&url, &settings))).await;
    let (ann, bob) = (registry.add_user("ann").await, registry.add_user("bob").await);
    registry.repository("ann/app").of(&ann).push_image("1").await;
    registry.grant("bob", &["pull"], "ann/app").await;
    // The commit waits for the lock of a table, which the registry neither writes nor reads.
    psql(
        &url,
        "CREATE TABLE gate ();
         CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN LOCK TABLE gate IN ACCESS SHARE MODE; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER waits AFTER DELETE ON grants DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION wait()",
    );
    let mut other = Command::new("psql");
    let mut other = other.args(["--no-psqlrc", "--quiet", &url]).stdin(Stdio::piped()).spawn().expect("psql");
    other.stdin.as_ref().unwrap().write_all(b"BEGIN; LOCK TABLE gate;\n").unwrap();
    let locks = "SELECT COUNT(*) FROM pg_locks WHERE relation = 'gate'::regclass";
    eventually("the table is locked", async || psql(&url, locks) == "1").await;
    let grant = "/api/v1/grants?subject=bob&repositories=ann/app";
    registry.ask_as(&Who::root(), Method::DELETE, grant).await.is(503);
    let app = registry.repository("ann/app").of(&bob);
    app.get("manifests/1").await.is(200);
    // Its end releases the lock.
    drop(other.stdin.take());
    other.wait().unwrap();
    eventually("the revocation counts", async || app.get("manifests/1").await.status == 404).await;
}
