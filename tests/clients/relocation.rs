//! Ways between the places of a registry: `wharfinger move` between a directory and S3 with PostgreSQL, and
//! the adoption of what distribution has written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::postgres::{SERVER, psql, with_schema};
use crate::harness::{Distribution, Image, Index, ObjectStore, PASSWORD, Server, Terminal, free_address};

const WHARFINGER: &str = env!("CARGO_BIN_EXE_wharfinger");

fn database(schema: &str) -> String {
    with_schema(&SERVER.socket_url(), schema)
}

fn metadata(schema: &str) -> String {
    format!("[metadata]\nurl = \"{}\"\n", database(schema))
}

/// Polls until `condition` holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn written(user: &Terminal, name: &str, text: &str) -> String {
    let path = user.path(name);
    fs::write(&path, text).expect("a settings file");
    path.display().to_string()
}

/// The digests of the tags of a repository.
fn digests(user: &Terminal, registry: &Server, repository: &str) -> BTreeMap<String, String> {
    let name = registry.at(repository);
    let tags = user.run(&format!("crane ls {name}"));
    tags.lines().map(|tag| (tag.to_owned(), user.run(&format!("crane digest {name}:{tag}")))).collect()
}

/// The status and the headers of a request.
fn head(user: &Terminal, options: &str, registry: &Server, path: &str) -> String {
    user.run(&format!("curl -s -o /dev/null -D - {options} http://{}{path}", registry.address()))
        .to_lowercase()
}

#[test]
fn registry_moves_to_a_bucket_with_postgres_and_back() {
    let (store, user, data) = (ObjectStore::start(), Terminal::open(), TempDir::new().unwrap());
    let data = data.path().join("data");
    let add = |name: &str, flag: &str| {
        user.run(&format!(
            "echo '{PASSWORD}' | {WHARFINGER} user add {name} --password-stdin {flag} --data {}",
            data.display()
        ));
    };
    add("root", "--admin");
    let registry = Server::configured_at("127.0.0.1:0", &data, "");
    let login = |user: &Terminal, registry: &Server| {
        user.run(&format!("crane auth login -u root -p '{PASSWORD}' {}", registry.address()))
    };
    login(&user, &registry);
    let app = registry.at("team/app:1");
    Image::saved(&user, "app", "on the way");
    Index::saved(&user, "everywhere", "on the way");
    user.run(&format!("crane push app {app}"));
    user.run(&format!("crane push --index everywhere {}", registry.at("team/app:all")));
    user.run(&format!(
        "head -c 3000000 /dev/urandom > random && tar cf large random && crane append -f large -t {}",
        registry.at("team/large:1")
    ));
    let before = digests(&user, &registry, "team/app");
    let moves = format!(
        "{WHARFINGER} move {} --to-metadata '{}' --data {}",
        store.move_flags("moved"),
        database("moved"),
        data.display()
    );
    let report: Value = user.json(&format!("{moves} --json"));
    assert!(report["blobs"]["copied"].as_u64().unwrap() >= 8, "{report}");
    assert_eq!(report["blobs"]["faulty"].as_array().unwrap().len(), 0, "{report}");
    let settings = report["settings"].as_str().unwrap().to_owned();
    assert!(settings.contains("[blobs]\nurl = \"s3://images/moved\""), "{settings}");

    // Until the restart: pulls, and no pushes.
    user.run(&format!("crane validate --remote {app}"));
    user.run(&format!("crane manifest {app} > manifest"));
    let put = format!(
        "-u 'root:{PASSWORD}' -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
         --data-binary @manifest"
    );
    let refused = head(&user, &put, &registry, "/v2/team/app/manifests/other");
    assert!(refused.contains(" 503 ") && refused.contains("retry-after: "), "{refused}");
    let again = user.fails(&moves);
    assert!(again.contains("nothing was moved"), "{again}");
    let address = registry.address().to_owned();
    drop(registry.stop());
    let none = written(&user, "none.toml", "");
    let old = user
        .fails(&format!("{WHARFINGER} serve --config {none} --listen {address} --data {}", data.display()));
    assert!(old.contains("set metadata.url") || old.contains("set blobs.url"), "{old}");

    // The printed lines are the settings.
    let registry = Server::configured_at(&address, &data, &settings);
    assert_eq!(digests(&user, &registry, "team/app"), before);
    user.run(&format!("crane validate --remote {app}"));
    user.run(&format!("crane validate --remote {}", registry.at("team/large:1")));
    Image::saved(&user, "later", "pushed there");
    user.run(&format!("crane push later {}", registry.at("team/app:2")));
    let new = written(&user, "new.toml", &settings);
    let checked = user.run(&format!("{WHARFINGER} check --read --config {new} --data {}", data.display()));
    assert!(checked.contains("nothing missing"), "{checked}");
    let before = digests(&user, &registry, "team/app");
    drop(registry.stop());

    // Back, without a server.
    let back = user.run(&format!(
        "{WHARFINGER} move --to-blobs file --to-metadata file --config {new} --data {}",
        data.display()
    ));
    assert!(back.contains("all compared") && back.contains("[metadata]\nurl = \"\""), "{back}");
    let registry = Server::configured_at(&address, &data, "");
    assert_eq!(digests(&user, &registry, "team/app"), before);
    user.run(&format!("crane validate --remote {}", registry.at("team/app:2")));
    user.run(&format!("crane push app {}", registry.at("team/app:3")));
    drop(registry.stop());
    // The old database is refused with another data directory, too.
    let elsewhere = user.fails(&format!(
        "{WHARFINGER} serve --config {none} --listen 127.0.0.1:0 --data elsewhere --metadata '{}'",
        database("moved")
    ));
    assert!(elsewhere.contains("was moved to"), "{elsewhere}");
}

#[test]
fn several_servers_move_back_with_their_changes() {
    let (store, user, scratch) = (ObjectStore::start(), Terminal::open(), TempDir::new().unwrap());
    let [first, second] = ["first", "second"].map(|name| scratch.path().join(name));
    for content in ["one", "two"] {
        Image::saved(&user, content, content);
    }
    let push = |registry: &Server, content: &str, name: &str| {
        user.run(&format!("crane push {content} {}", registry.at(name)));
    };
    let registry = Server::configured_at("127.0.0.1:0", &first, "");
    ["app:moved", "app:deleted", "gone:1"].iter().for_each(|name| push(&registry, "one", name));
    drop(registry.stop());
    let url = database("several_back");
    user.run(&format!(
        "{WHARFINGER} move {} --to-metadata '{url}' --data {}",
        store.move_flags("several"),
        first.display()
    ));

    let cluster = |address: &str| {
        format!(
            "[metadata]\nurl = \"{url}\"\n[cluster]\naddress = \"http://{address}\"\n{}",
            store.settings("several")
        )
    };
    let [primary_at, replica_at] = [(); 2].map(|()| free_address());
    let primary = Server::configured_at(&primary_at, &first, &cluster(&primary_at));
    let replica = Server::configured_at(&replica_at, &second, &cluster(&replica_at));
    push(&replica, "two", "app:moved");
    push(&replica, "two", "new:1");
    user.run(&format!("crane delete {}", primary.at("gone:1")));
    let deleted = format!("http://{replica_at}/v2/app/manifests/deleted");
    user.run(&format!("curl -sSf -X DELETE {deleted}"));
    let back = |data: &Path, address: &str| {
        let config = written(&user, "cluster.toml", &cluster(address));
        format!(
            "{WHARFINGER} move --to-blobs file --to-metadata file --config {config} --data {}",
            data.display()
        )
    };
    let refused = user.fails(&back(&second, &replica_at));
    assert!(refused.contains("replica"), "{refused}");
    let refused = user.fails(&back(&first, &primary_at));
    assert!(refused.contains("other servers use it"), "{refused}");
    push(&replica, "two", "app:later");
    drop(replica.stop());
    user.run(&back(&first, &primary_at));
    let refused = user.fails(&back(&second, &replica_at));
    assert!(refused.contains("was moved to"), "{refused}");
    let tags =
        |registry: &Server| ["app", "new"].map(|name| user.run(&format!("crane ls {}", registry.at(name))));
    let two = user.run(&format!("crane digest {}", primary.at("app:later")));
    let before = tags(&primary);
    drop(primary.stop());

    // The links of the directory are from before the first move.
    let registry = Server::configured_at("127.0.0.1:0", &first, "");
    assert_eq!(tags(&registry), before);
    assert_eq!(user.run(&format!("crane digest {}", registry.at("app:moved"))), two);
    user.fails(&format!("crane digest {}", registry.at("gone:1")));
    assert!(registry.log().contains("wrote them anew"), "{}", registry.log());
    drop(registry.stop());
    let registry = Server::configured_at("127.0.0.1:0", &first, "");
    assert_eq!(tags(&registry), before);
    assert!(!registry.log().contains("wrote them anew"), "{}", registry.log());
}

#[test]
fn pushes_during_a_move_are_not_lost() {
    let (store, user, data) = (ObjectStore::start(), Terminal::open(), TempDir::new().unwrap());
    let registry = Server::configured_at("127.0.0.1:0", data.path(), "");
    Image::saved(&user, "app", "pushed all the time");
    user.run(&format!("crane push app {}", registry.at("team/app:first")));
    let (moved, pushed) = (AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
    thread::scope(|threads| {
        for pusher in 0..2 {
            let (registry, moved, pushed) = (&registry, &moved, &pushed);
            threads.spawn(move || {
                let user = Terminal::open();
                for number in 0.. {
                    if moved.load(Ordering::Relaxed) {
                        break;
                    }
                    let (name, tag) = (format!("i{number}"), format!("{pusher}-{number}"));
                    let image = Image::saved(&user, &name, &format!("{pusher} {number}"));
                    let push =
                        format!("timeout 5 crane push {name} {}", registry.at(&format!("team/app:{tag}")));
                    // crane tries again for a while after 503.
                    if user.run(&format!("{push} >/dev/null 2>&1 && echo done || true")).ends_with("done") {
                        pushed.lock().unwrap().push((tag, image.digest));
                    }
                }
            });
        }
        eventually("some pushes", || pushed.lock().unwrap().len() > 3);
        user.run(&format!(
            "{WHARFINGER} move {} --to-metadata '{}' --data {}",
            store.move_flags("busy"),
            database("busy"),
            data.path().display()
        ));
        moved.store(true, Ordering::Relaxed);
    });
    drop(registry.stop());
    let settings = format!("{}{}", store.settings("busy"), metadata("busy"));
    let registry = Server::configured_at("127.0.0.1:0", data.path(), &settings);
    let there = digests(&user, &registry, "team/app");
    for (tag, digest) in &*pushed.lock().unwrap() {
        assert_eq!(there.get(tag), Some(digest), "{tag} was acknowledged");
        user.run(&format!("crane validate --remote {}", registry.at(&format!("team/app:{tag}"))));
    }
}

/// Kills the server when `is_time`, and returns the settings with which the directory starts then.
fn kill_during_a_move(
    registry: Server,
    flags: &str,
    data: &Path,
    new: &str,
    is_time: impl FnMut() -> bool,
) -> String {
    let line = format!("{WHARFINGER} move {flags} --data {} >/dev/null 2>&1", data.display());
    let mut command =
        Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).spawn().expect("the command starts");
    eventually("the time of the kill", is_time);
    registry.kill();
    command.wait().expect("the command ends");
    let user = Terminal::open();
    let none = written(&user, "none.toml", "");
    let listed = user.run(&format!(
        "{WHARFINGER} ls --config {none} --data {} >/dev/null 2>listed && echo old || cat listed",
        data.display()
    ));
    match listed.as_str() {
        "old" => String::new(),
        refused => {
            assert!(refused.contains("set metadata.url") || refused.contains("set blobs.url"), "{refused}");
            new.to_owned()
        }
    }
}

#[test]
fn killed_moves_leave_one_truth_and_go_on() {
    let (store, user) = (ObjectStore::start(), Terminal::open());
    user.run("head -c 8000000 /dev/urandom > random && tar cf large random");
    for (number, phase) in ["blobs", "metadata", "commit", "records"].into_iter().enumerate() {
        let data = TempDir::new().unwrap();
        let data = data.path();
        let (prefix, schema) = (format!("killed{number}"), format!("killed{number}"));
        let new = format!("{}{}", store.settings(&prefix), metadata(&schema));
        let flags = format!("{} --to-metadata '{}'", store.move_flags(&prefix), database(&schema));
        let registry = Server::configured_at("127.0.0.1:0", data, "");
        for image in 0..8 {
            user.run(&format!("head -c 100000 /dev/urandom > random && tar cf small{image} random"));
            let tag = registry.at(&format!("team/app:{image}"));
            user.run(&format!("crane append -f large -f small{image} -t {tag}"));
        }
        let before = digests(&user, &registry, "team/app");
        let arrived =
            "SELECT COUNT(*) FROM pg_tables WHERE schemaname = CURRENT_SCHEMA() AND tablename = 'tags'";
        let own = data.join("wharfinger");
        let settings = kill_during_a_move(registry, &flags, data, &new, || match phase {
            "blobs" => store.keys(&prefix).len() > 4,
            "metadata" => psql(&database(&schema), arrived) == "1",
            "commit" => own.join("move").exists() || own.join("metadata").exists(),
            _ => own.join("metadata").exists(),
        });
        if settings.is_empty() {
            // Not moved: nothing is lost, pushes go on, and the same command ends the move.
            let registry = Server::configured_at("127.0.0.1:0", data, "");
            assert_eq!(digests(&user, &registry, "team/app"), before, "{phase}");
            user.run(&format!("{WHARFINGER} move {flags} --data {}", data.display()));
            drop(registry.stop());
        }
        let registry = Server::configured_at("127.0.0.1:0", data, &new);
        assert_eq!(digests(&user, &registry, "team/app"), before, "{phase}");
        for tag in before.keys() {
            user.run(&format!("crane validate --remote {}", registry.at(&format!("team/app:{tag}"))));
        }
        user.run(&format!("crane append -f large -t {}", registry.at("team/app:new")));
    }
}

#[test]
fn unfit_targets_of_a_move_are_refused() {
    let (store, user) = (ObjectStore::start(), Terminal::open());
    let other = Server::configured(&format!("{}{}", store.settings("used"), metadata("used")));
    Image::saved(&user, "app", "here");
    user.run(&format!("crane push app {}", other.at("app:1")));
    let data = TempDir::new().unwrap();
    let registry = Server::configured_at("127.0.0.1:0", data.path(), "");
    user.run(&format!("crane push app {}", registry.at("app:1")));
    let moves =
        |flags: &str| user.fails(&format!("{WHARFINGER} move {flags} --data {}", data.path().display()));
    let told = moves(&store.move_flags("used"));
    assert!(told.contains("holds the blobs of another database"), "{told}");
    let told = moves(&format!("--to-metadata '{}'", database("used")));
    assert!(told.contains("has the metadata of a registry"), "{told}");
    psql(&database("strange"), "CREATE TABLE things (a INT)");
    let told = moves(&format!("--to-metadata '{}'", database("strange")));
    assert!(told.contains("it has tables, such as things"), "{told}");
    fs::create_dir_all(store.object("strange/docker/registry/v2/blobs")).unwrap();
    fs::write(store.object("strange/docker/registry/v2/blobs/data"), "theirs").unwrap();
    let told = moves(&store.move_flags("strange"));
    assert!(told.contains("holds the content of another registry"), "{told}");
    assert!(moves("--to-blobs file").contains("are files already"));
    assert!(moves("--to-metadata file").contains("in a file already"));
    assert!(moves("").contains("nothing to move"));
    assert!(moves("--to-blobs ftp://x").contains("s3://BUCKET"));
    assert!(moves("--to-metadata mysql://a@b/c").contains("postgres://USER@HOST/DATABASE"));
    let away = moves(&store.move_flags("away").replace(&store.endpoint(), "http://127.0.0.1:1"));
    assert!(away.contains("http://127.0.0.1:1 does not answer"), "{away}");
    let away = moves(&store.move_flags("nowhere").replace("s3://images", "s3://absent"));
    assert!(away.contains("there is no bucket absent"), "{away}");
    let away = moves("--to-metadata postgres://a@127.0.0.1:1/b");
    assert!(away.contains("cannot use the metadata database postgres://127.0.0.1:1/b"), "{away}");
    // The registry goes on.
    user.run(&format!("crane push app {}", registry.at("app:2")));
}

#[test]
fn bucket_of_distribution_is_adopted() {
    let (store, user) = (ObjectStore::start(), Terminal::open());
    let theirs = Distribution::version_3_with_storage(&store.distribution_settings("theirs"));
    Image::saved(&user, "app", "theirs");
    Image::saved(&user, "deleted", "deleted there");
    Index::saved(&user, "everywhere", "theirs");
    user.run(&format!("crane push app {}", theirs.at("team/app:1")));
    user.run(&format!("crane push app {}", theirs.at("other/deep/app:1")));
    user.run(&format!("crane push --index everywhere {}", theirs.at("team/app:all")));
    user.run(&format!("crane push deleted {}", theirs.at("team/app:deleted")));
    user.run(&format!(
        "head -c 9000000 /dev/urandom > random && tar cf large random && crane append -f large -t {}",
        theirs.at("large:1")
    ));
    let deleted = user.run(&format!("crane digest {}", theirs.at("team/app:deleted")));
    user.run(&format!("crane delete {}@{deleted}", theirs.at("team/app")));
    // An upload that nobody finishes.
    user.run(&format!(
        "url=$(curl -sSf -o /dev/null -D - -X POST http://{}/v2/team/app/blobs/uploads/ | tr -d '\\r' | \
         sed -n 's/^[Ll]ocation: //p') && curl -sSf -o /dev/null -X PATCH \
         -H 'Content-Type: application/octet-stream' --data-binary @large \"$url\"",
        theirs.address()
    ));
    let expected = ["team/app:1", "team/app:all", "other/deep/app:1", "large:1"]
        .map(|image| (image, user.run(&format!("crane digest {}", theirs.at(image)))));
    theirs.stop();
    // A damaged link, and something strange.
    let tags = store.object("theirs/docker/registry/v2/repositories/team/app/_manifests/tags");
    fs::create_dir_all(tags.join("broken/current")).unwrap();
    fs::write(tags.join("broken/current/link"), "sha256:").unwrap();
    fs::write(tags.join("strange"), "a note").unwrap();

    let data = TempDir::new().unwrap();
    let settings = store.settings("theirs");
    let ours = Server::configured_at("127.0.0.1:0", data.path(), &settings);
    ours.wait_for_log("_manifests/tags/broken");
    ours.wait_for_log("skipped: no link of a registry");
    for (image, digest) in &expected {
        assert_eq!(&user.run(&format!("crane digest {}", ours.at(image))), digest);
        user.run(&format!("crane validate --remote {}", ours.at(image)));
    }
    assert_eq!(user.run(&format!("crane ls {}", ours.at("team/app"))), "1\nall");
    user.run(&format!("crane push deleted {}", ours.at("team/app:2")));
    drop(ours.stop());
    let ours = Server::configured_at("127.0.0.1:0", data.path(), &settings);
    user.run(&format!("crane validate --remote {}", ours.at("team/app:2")));
    drop(ours.stop());
    // Now it belongs to this database.
    let none = written(&user, "settings.toml", &settings);
    let other =
        user.fails(&format!("{WHARFINGER} serve --config {none} --listen 127.0.0.1:0 --data elsewhere"));
    assert!(other.contains("holds the blobs of another database"), "{other}");
}

#[test]
fn distribution_reads_the_view_of_a_bucket() {
    let (store, user, data) = (ObjectStore::start(), Terminal::open(), TempDir::new().unwrap());
    for content in ["one", "two"] {
        Image::saved(&user, content, content);
    }
    Index::saved(&user, "everywhere", "viewed");
    let settings = format!("{}view = true\n", store.settings("viewed"));
    let theirs = || Distribution::version_3_with_storage(&store.distribution_settings("viewed"));
    let repositories = "viewed/docker/registry/v2/repositories";
    let is_linked = |path: &str| store.object(repositories).join(path).join("link").exists();
    let is_complete = || store.object("viewed/wharfinger/links").exists();

    // Links from before the setting, and of content that was deleted without it.
    let without = store.settings("viewed");
    let ours = Server::configured_at("127.0.0.1:0", data.path(), &without);
    user.run(&format!("crane push one {}", ours.at("team/app:1")));
    user.run(&format!("crane push one {}", ours.at("team/app:gone")));
    user.run(&format!("crane push one {}", ours.at("old/app:1")));
    drop(ours.stop());
    assert!(store.keys(repositories).is_empty());
    let ours = Server::configured_at("127.0.0.1:0", data.path(), &settings);
    eventually("the links are complete", is_complete);
    drop(ours.stop());
    assert!(
        is_linked("team/app/_manifests/tags/gone/current") && is_linked("old/app/_manifests/tags/1/current")
    );
    let ours = Server::configured_at("127.0.0.1:0", data.path(), &without);
    eventually("the links count no more", || !is_complete());
    user.run(&format!("crane delete {}", ours.at("team/app:gone")));
    user.run(&format!("{WHARFINGER} rm --all --yes old/app --data {}", data.path().display()));
    drop(ours.stop());
    assert!(is_linked("team/app/_manifests/tags/gone/current"));

    let ours = Server::configured_at("127.0.0.1:0", data.path(), &settings);
    eventually("the links are complete again", is_complete);
    assert!(!is_linked("team/app/_manifests/tags/gone/current"));
    assert!(!store.keys(repositories).iter().any(|key| key.starts_with("old")));
    // Changes follow.
    user.run(&format!("crane push two {}", ours.at("team/app:1")));
    user.run(&format!("crane push two {}", ours.at("team/app:gone")));
    user.run(&format!("crane push --index everywhere {}", ours.at("team/app:all")));
    user.run(&format!("crane delete {}", ours.at("team/app:gone")));
    let expected = ["team/app:1", "team/app:all"]
        .map(|image| (image, user.run(&format!("crane digest {}", ours.at(image)))));
    // A stop writes the rest.
    drop(ours.stop());

    let theirs = theirs();
    for (image, digest) in &expected {
        assert_eq!(&user.run(&format!("crane digest {}", theirs.at(image))), digest);
        user.run(&format!("crane validate --remote {}", theirs.at(image)));
    }
    assert_eq!(user.run(&format!("crane ls {}", theirs.at("team/app"))), "1\nall");
    assert_eq!(user.run(&format!("crane catalog {}", theirs.address())), "team/app");
    theirs.stop();
    let ours = Server::configured_at("127.0.0.1:0", data.path(), &settings);
    user.run(&format!("crane validate --remote {}", ours.at("team/app:all")));

    // A restoration into another directory forgets a tag, and its link with it.
    let restored = TempDir::new().unwrap();
    user.run(&format!("{WHARFINGER} backup before.backup --data {}", data.path().display()));
    user.run(&format!("crane push two {}", ours.at("team/app:later")));
    drop(ours.stop());
    assert!(is_linked("team/app/_manifests/tags/later/current"));
    user.run(&format!("{WHARFINGER} restore before.backup --data {}", restored.path().display()));
    let ours = Server::configured_at("127.0.0.1:0", restored.path(), &settings);
    eventually("the links follow the restoration", || !is_linked("team/app/_manifests/tags/later/current"));
    assert!(is_linked("team/app/_manifests/tags/1/current"));
    user.run(&format!("crane validate --remote {}", ours.at("team/app:all")));
}

#[test]
fn distribution_directory_and_bucket_move_to_postgres() {
    let (store, user, data) = (ObjectStore::start(), Terminal::open(), TempDir::new().unwrap());
    Image::saved(&user, "app", "theirs");
    let theirs = Distribution::version_2_on(data.path());
    user.run(&format!("crane push app {}", theirs.at("team/app:1")));
    theirs.stop();
    for _ in 0..2 {
        let ours = Server::configured_at("127.0.0.1:0", data.path(), &metadata("adopted"));
        user.run(&format!("crane validate --remote {}", ours.at("team/app:1")));
        user.run(&format!("crane push app {}", ours.at("team/app:2")));
    }
    assert_eq!(psql(&database("adopted"), "SELECT COUNT(*) FROM tags"), "2");

    let theirs = Distribution::version_3_with_storage(&store.distribution_settings("both"));
    user.run(&format!("crane push app {}", theirs.at("team/app:1")));
    theirs.stop();
    let data = TempDir::new().unwrap();
    let settings = format!("{}{}", store.settings("both"), metadata("adopted_both"));
    for _ in 0..2 {
        let ours = Server::configured_at("127.0.0.1:0", data.path(), &settings);
        user.run(&format!("crane validate --remote {}", ours.at("team/app:1")));
    }
}

/// Copies of a data directory, made while its server runs, take back no push.
#[test]
fn hot_copies_of_a_directory_take_back_nothing() {
    let (store, user, scratch) = (ObjectStore::start(), Terminal::open(), TempDir::new().unwrap());
    let [first, snapshot, mixed] = ["first", "snapshot", "mixed"].map(|name| scratch.path().join(name));
    let settings = format!("{}{}", store.settings("hot"), metadata("hot"));
    let link = "docker/registry/v2/repositories/team/app/_manifests/tags/1/current/link";
    let registry = Server::configured_at("127.0.0.1:0", &first, &settings);
    let push = |registry: &Server, content: &str| {
        let image = Image::saved(&user, content, content);
        user.run(&format!("crane push {content} {}", registry.at("team/app:1")));
        image.digest
    };
    // The position is recorded once the link is written and synced.
    let push_and_wait = |registry: &Server, data: &Path, content: &str| {
        let position = || fs::read_to_string(data.join("wharfinger/view")).unwrap();
        let before = position();
        let digest = push(registry, content);
        eventually("the link is written", || {
            fs::read_to_string(data.join(link)).is_ok_and(|written| written == digest) && position() != before
        });
        digest
    };
    let says = |registry: &Server| user.run(&format!("crane digest {}", registry.at("team/app:1")));

    push_and_wait(&registry, &first, "one");
    user.run(&format!("cp -a {} {}", first.display(), snapshot.display()));
    // Of this copy, the links are of before a push, and the position of after it.
    fs::create_dir(&mixed).unwrap();
    user.run(&format!("cp -a {} {}", first.join("docker").display(), mixed.display()));
    let two = push_and_wait(&registry, &first, "two");
    user.run(&format!("cp -a {} {}", first.join("wharfinger").display(), mixed.display()));
    drop(registry.stop());

    for copy in [&mixed, &snapshot] {
        let registry = Server::configured_at("127.0.0.1:0", copy, &settings);
        assert_eq!(says(&registry), two);
        assert!(registry.log().contains("wrote them anew"), "{}", registry.log());
        assert_eq!(fs::read_to_string(copy.join(link)).unwrap(), two);
        drop(registry.stop());
        assert!(copy.join("docker/registry/v2/repositories.replaced/team").is_dir());
    }
    // A copy of a stopped server has the right links, and a killed server goes on with its own.
    let cold = scratch.path().join("cold");
    user.run(&format!("cp -a {} {}", snapshot.display(), cold.display()));
    let registry = Server::configured_at("127.0.0.1:0", &cold, &settings);
    let three = push_and_wait(&registry, &cold, "three");
    assert!(!registry.log().contains("wrote them anew"), "{}", registry.log());
    registry.kill();
    let registry = Server::configured_at("127.0.0.1:0", &cold, &settings);
    assert_eq!(says(&registry), three);
    assert!(!registry.log().contains("wrote them anew"), "{}", registry.log());
}

#[test]
fn directories_of_one_database_and_bucket_take_turns() {
    let (store, user, scratch) = (ObjectStore::start(), Terminal::open(), TempDir::new().unwrap());
    let [first, copy, empty] = ["first", "copy", "empty"].map(|name| scratch.path().join(name));
    let settings = format!("{}{}", store.settings("turns"), metadata("turns"));
    let push = |registry: &Server, content: &str| {
        let image = Image::saved(&user, content, content);
        user.run(&format!("crane push {content} {}", registry.at("team/app:1")));
        image.digest
    };
    let registry = Server::configured_at("127.0.0.1:0", &first, &settings);
    push(&registry, "one");
    drop(registry.stop());
    user.run(&format!("cp -a {} {}", first.display(), copy.display()));

    let registry = Server::configured_at("127.0.0.1:0", &copy, &settings);
    let two = push(&registry, "two");
    drop(registry.stop());
    // Its links say "one".
    let registry = Server::configured_at("127.0.0.1:0", &first, &settings);
    assert_eq!(user.run(&format!("crane digest {}", registry.at("team/app:1"))), two);
    let three = push(&registry, "three");
    drop(registry.stop());
    let registry = Server::configured_at("127.0.0.1:0", &first, &settings);
    assert!(!registry.log().contains("wrote them anew"), "{}", registry.log());
    drop(registry.stop());

    // A machine without its disk. The first start waits to see that the old server is gone.
    fs::create_dir_all(empty.join("wharfinger")).unwrap();
    let config = written(&user, "turns.toml", &settings);
    let listed = user.run(&format!("{WHARFINGER} ls --config {config} --data {}", empty.display()));
    assert!(listed.contains("team/app"), "{listed}");
    let registry = Server::configured_at("127.0.0.1:0", &empty, &settings);
    assert_eq!(user.run(&format!("crane digest {}", registry.at("team/app:1"))), three);
    user.run(&format!("crane validate --remote {}", registry.at("team/app:1")));
    let link = empty.join("docker/registry/v2/repositories/team/app/_manifests/tags/1/current/link");
    assert_eq!(fs::read_to_string(link).unwrap(), three);
    push(&registry, "four");
}
