//! A registry with its blobs in a bucket: docker, skopeo, crane and curl against versitygw.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::object_servers::faults::{Fault, Overload};
use crate::harness::{
    Engine, Image, ObjectStore, PASSWORD, Server, Terminal, docker_runs_an_image,
    images_are_copied_and_collected,
};

/// Deletions take effect with the next collection.
const NO_GRACE: &str = "[gc]\ngrace = 0\n";

/// Polls until `condition` holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The status of a GET.
fn status(user: &Terminal, url: &str) -> String {
    user.run(&format!("curl -s -o /dev/null -w '%{{http_code}}' {url} || true"))
}

/// Begins an upload, and returns its URL.
fn begin(user: &Terminal, registry: &Server) -> String {
    let at = registry.address();
    let location = user.run(&format!(
        "curl -sSf -o /dev/null -D - -X POST http://{at}/v2/team/large/blobs/uploads/ | tr -d '\\r' | \
         sed -n 's/^[Ll]ocation: //p'"
    ));
    if location.starts_with("http") { location } else { format!("http://{at}{location}") }
}

#[test]
fn docker_runs_an_image_from_a_bucket() {
    let store = ObjectStore::start();
    let registry = Server::configured(&store.settings("docker"));
    docker_runs_an_image(&registry, "from a bucket");
}

#[test]
fn images_in_a_bucket_are_copied_and_collected() {
    let store = ObjectStore::start();
    let registry = Server::configured(&format!("{NO_GRACE}{}", store.settings("a/b")));
    images_are_copied_and_collected(&registry, &store, "a/b");
}

#[test]
fn downloads_are_redirected_to_a_bucket() {
    let store = ObjectStore::start();
    let registry = Server::configured(&format!("{}redirect = \"always\"\n", store.settings("redirected")));
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    Image::saved(&user, "app", "redirected");
    user.run(&format!("crane push app {app}"));
    let digest = user.run(&format!("crane manifest {app} | jq -r .layers[0].digest"));
    let blob = format!("http://{}/v2/team/app/blobs/{digest}", registry.address());
    assert_eq!(status(&user, &blob), "307");
    assert_eq!(status(&user, &format!("--head {blob}")), "200");
    assert_eq!(status(&user, &blob.replace("team/app", "team/other")), "404");
    user.run(&format!("curl -sSfL -o layer {blob}"));
    user.run(&format!("[ sha256:$(sha256sum layer | cut -d' ' -f1) = {digest} ]"));
    user.run(&format!("crane pull --format oci {app} back && diff --recursive app/blobs back/blobs"));
    user.run(&format!("skopeo copy --src-tls-verify=false docker://{app} oci:skopeo:1"));
    let engine = Engine::shared();
    engine.terminal().run(&format!("docker pull {app} && docker rmi {app}"));

    // The clients of some networks alone.
    for (networks, expected) in
        [(r#"["192.0.2.0/24", "127.0.0.0/8"]"#, "307"), (r#"["192.0.2.0/24"]"#, "200")]
    {
        let settings = format!("{}redirect = {networks}\n", store.settings(expected));
        let registry = Server::configured(&settings);
        let app = registry.at("team/app:1");
        user.run(&format!("crane push app {app}"));
        let blob = format!("http://{}/v2/team/app/blobs/{digest}", registry.address());
        assert_eq!(status(&user, &blob), expected);
        user.run(&format!("crane validate --remote {app}"));
    }
}

#[test]
fn copies_are_pulled_while_the_store_is_away() {
    let mut store = ObjectStore::start();
    let data = TempDir::new().expect("a temporary directory");
    let registry = Server::configured_at("127.0.0.1:0", data.path(), &store.settings("copied"));
    let user = Terminal::open();
    let (address, app) = (registry.address().to_owned(), registry.at("team/app:1"));
    Image::saved(&user, "app", "copied");
    user.run(&format!("crane push app {app} && crane pull --format oci {app} back"));
    let digest = user.run(&format!("crane manifest {app} | jq -r .layers[0].digest"));
    let blob = format!("http://{address}/v2/team/app/blobs/{digest}");
    let copy = data.path().join("wharfinger/cache").join(digest.replace(':', "-"));
    assert!(copy.exists());
    registry.kill();

    let registry = Server::configured_at(&address, data.path(), &store.settings("copied"));
    store.stop();
    user.run(&format!(
        "curl -sSf -o layer {blob} && [ sha256:$(sha256sum layer | cut -d' ' -f1) = {digest} ]"
    ));
    user.run(&format!("curl -sSf -r 5-9 -o part {blob} && tail -c +6 layer | head -c 5 | cmp - part"));
    assert_eq!(status(&user, &blob.replace("team/app", "team/other")), "404");
    let metrics = user.run(&format!("curl -sSf http://{address}/metrics"));
    assert!(metrics.contains("\nwharfinger_blob_cache_hits_total 2\n"), "{metrics}");
    store.start_again();
    eventually("the server notices it", || status(&user, &format!("http://{address}/readyz")) == "200");
    registry.says(&format!("erase team/app@{digest} --everywhere"));
    assert!(!copy.exists());
    assert_eq!(status(&user, &blob), "404");
    drop(registry);

    // Without the setting, nothing is kept.
    let without = format!("{}cache = 0\n", store.settings("copied"));
    drop(Server::configured_at(&address, data.path(), &without));
    assert!(!data.path().join("wharfinger/cache").exists());
}

#[test]
fn upload_to_a_bucket_survives_a_kill() {
    let store = ObjectStore::start();
    let data = TempDir::new().expect("a temporary directory");
    let registry = Server::configured_at("127.0.0.1:0", data.path(), &store.settings("killed"));
    let user = Terminal::open();
    let chunk = "-H 'Content-Type: application/octet-stream' --data-binary";
    user.run("head -c 60000000 /dev/urandom > layer && head -c 40000000 layer > first && tail -c +40000001 layer > rest");
    let upload = begin(&user, &registry);
    let upload = user
        .run(&format!("curl -sSf -o /dev/null -D - -X PATCH {chunk} @first '{upload}' | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'"));
    let path = upload.split_once("/v2/").map(|(_, path)| path.to_owned()).expect("a path");
    // It ends in the middle of another upload, which nobody continues.
    let lost = begin(&user, &registry);
    user.run(&format!(
        "mkfifo end; {{ (head -c 50000000 /dev/urandom || :; cat end) | \
         curl -sS -o /dev/null -X PATCH -T - '{lost}'; }} >curl.log 2>&1 &"
    ));
    eventually("a part of the lost upload is in the store", || {
        store.keys("").iter().filter(|key| key.to_string_lossy().contains("sgwtmp")).count() > 3
    });
    let address = registry.address().to_owned();
    registry.kill();
    user.run(": >end");

    let registry = Server::configured_at(&address, data.path(), &store.settings("killed"));
    let digest = format!("sha256:{}", user.run("sha256sum layer | cut -d' ' -f1"));
    let mark = if path.contains('?') { '&' } else { '?' };
    user.run(&format!("curl -sSf -X PUT {chunk} @rest 'http://{address}/v2/{path}{mark}digest={digest}'"));
    user.run(&format!("curl -sSf -o back http://{address}/v2/team/large/blobs/{digest} && cmp layer back"));
    user.run(&format!(
        "curl -sSf -r 39999000-40001000 -o part http://{address}/v2/team/large/blobs/{digest} && \
         tail -c +39999001 layer | head -c 2001 | cmp - part"
    ));
    // Besides the lease, nothing is left.
    assert_eq!(store.keys("killed/wharfinger"), [Path::new("lease")]);
    assert_eq!(fs::read_dir(data.path().join("wharfinger/uploads")).map(Iterator::count).unwrap_or(0), 0);
    drop(registry);
}

#[test]
fn absent_object_store_is_unavailable() {
    let mut store = ObjectStore::start();
    let registry = Server::configured(&format!("{}cache = 0\n", store.settings("away")));
    let user = Terminal::open();
    let app = registry.at("team/app:1");
    Image::saved(&user, "app", "away");
    user.run(&format!("crane push app {app}"));
    let ready = format!("http://{}/readyz", registry.address());
    assert_eq!(status(&user, &ready), "200");
    let digest = user.run(&format!("crane manifest {app} | jq -r .layers[0].digest"));
    let blob = format!("http://{}/v2/team/app/blobs/{digest}", registry.address());
    assert_eq!(status(&user, &blob), "200");

    store.stop();
    let head = user.run(&format!("curl -s -o /dev/null -D - {blob}"));
    assert!(head.contains(" 503 ") && head.to_lowercase().contains("retry-after:"), "{head}");
    eventually("readyz fails", || status(&user, &ready) == "503");
    registry.wait_for_log("the object store cannot be used");

    store.start_again();
    eventually("readyz succeeds", || status(&user, &ready) == "200");
    assert_eq!(status(&user, &blob), "200");
    user.run(&format!("crane push app {}", registry.at("team/app:2")));
}

/// Pushes an image of small blobs, and one with a layer of several parts. Returns their names.
fn push_images(user: &Terminal, registry: &Server, name: &str) -> [String; 2] {
    let [small, large] = ["small", "large"].map(|kind| registry.at(&format!("team/{name}:{kind}")));
    Image::saved(user, &format!("{name}-image"), name);
    user.run(&format!("crane push {name}-image {small}"));
    user.run(&format!("head -c 50000000 /dev/urandom > {name} && tar -cf {name}.tar {name}"));
    user.run(&format!("crane append -f {name}.tar -t {large}"));
    [small, large]
}

/// Pulls images, and reads the content of all others.
fn check_images(user: &Terminal, registry: &Server, images: &[String]) {
    for image in images {
        user.run(&format!("crane validate --remote {image}"));
    }
    let checked = registry.says("check --read");
    assert!(checked.contains(": nothing missing"), "{checked}");
}

#[test]
fn failing_bucket_fails_no_push() {
    let store = ObjectStore::start();
    let faults = [("fail", Fault::Fail(5)), ("cut", Fault::Cut), ("cut_body", Fault::CutBody(3))];
    for (prefix, fault) in faults {
        let registry = Server::configured(&store.settings_with(fault, prefix));
        let users = ["one", "two", "three"];
        let pushed: Vec<String> = thread::scope(|scope| {
            let pushes = users.map(|name| {
                let registry = &registry;
                scope.spawn(move || push_images(&Terminal::open(), registry, name))
            });
            pushes.into_iter().flat_map(|push| push.join().expect("a push")).collect()
        });
        check_images(&Terminal::open(), &registry, &pushed);
    }
}

#[test]
fn overload_of_a_minute_fails_no_push() {
    let store = ObjectStore::start();
    let overload = Overload::of(Duration::from_secs(60));
    let registry = Server::configured(&store.settings_with(Fault::Overload(overload), "overloaded"));
    let (user, engine) = (Terminal::open(), Engine::shared());
    push_images(&user, &registry, "before");
    let docker = registry.at("team/docker:1");
    engine.builds(&engine.terminal(), &docker, "overloaded");
    overload.begin();
    let pushed: Vec<String> = thread::scope(|scope| {
        let docker = scope.spawn(|| engine.terminal().run(&format!("docker push {docker}")));
        let crane = ["one", "two"].map(|name| {
            let registry = &registry;
            scope.spawn(move || push_images(&Terminal::open(), registry, name))
        });
        // Its blobs are there already.
        user.run(&format!("crane push before-image {}", registry.at("team/before:again")));
        docker.join().expect("a push by docker");
        crane.into_iter().flat_map(|push| push.join().expect("a push by crane")).collect()
    });
    assert!(overload.is_over() && overload.refused() > 10, "the store was overloaded");
    check_images(&user, &registry, &pushed);
    check_images(&user, &registry, &[docker]);
}

#[test]
fn rotated_key_of_a_bucket_is_used() {
    let (store, user) = (ObjectStore::start(), Terminal::open());
    let secret = user.path("secret");
    let settings = |id: &str| {
        let (endpoint, secret) = (store.endpoint(), secret.display());
        format!(
            "[blobs]\nurl = \"s3://images/rotated\"\nendpoint = \"{endpoint}\"\naccess_key = \"{id}\"\n\
             secret_key_file = \"{secret}\"\n"
        )
    };
    store.add_key("first", "one");
    fs::write(&secret, "one").expect("a file");
    let registry = Server::configured(&settings("first"));
    Image::saved(&user, "app", "before");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));

    // The store refuses the old secret, and nobody reloads the server.
    store.set_secret("first", "two");
    fs::write(&secret, "two").expect("a file");
    user.run("head -c 40000000 /dev/urandom > large && tar -cf large.tar large");
    user.run(&format!("crane append -f large.tar -t {}", registry.at("team/large:1")));
    user.run(&format!("crane validate --remote {}", registry.at("team/large:1")));

    store.add_key("other", "three");
    registry.configure(&settings("other"));
    fs::write(&secret, "three").expect("a file");
    let reloaded = registry.says("reload");
    assert!(reloaded.contains("blobs.access_key"), "{reloaded}");
    store.remove_key("first");
    user.run(&format!("crane append -f large.tar -b {0} -t {0}", registry.at("team/large:1")));
    user.run(&format!("crane validate --remote {}", registry.at("team/large:1")));
}

#[test]
fn empty_machine_goes_on_from_the_bucket() {
    let store = ObjectStore::start();
    let user = Terminal::open();
    let (old, new) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let settings = format!("{}ship_metadata = \"1s\"\n", store.settings("shipped"));
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    user.run(&format!(
        "echo '{PASSWORD}' | {wharfinger} user add root --admin --password-stdin --data {}",
        old.path().display()
    ));
    let registry = Server::configured_at("127.0.0.1:0", old.path(), &settings);
    let login = |registry: &Server| {
        user.run(&format!("crane auth login -u root -p '{PASSWORD}' {}", registry.address()));
    };
    login(&registry);
    Image::saved(&user, "app", "shipped");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));
    let changes = || store.keys("shipped/wharfinger/metadata/log");
    let before = changes();
    user.run(&format!("crane push app {}", registry.at("team/app:1b")));
    eventually("the push is shipped", || changes() != before);
    user.run(&format!("crane push app {}", registry.at("team/app:2")));
    // A stop ships the last changes.
    drop(registry.stop());

    let own = user.path("own.toml");
    fs::write(&own, &settings).expect("a settings file");
    let data = new.path().join("data");
    fs::create_dir_all(data.join("wharfinger")).expect("a data directory");
    let new_list = format!("{wharfinger} ls --config {} --data {}", own.display(), data.display());
    let listed = user.run(&new_list);
    assert!(listed.contains("team/app"), "{listed}");
    let registry = Server::configured_at("127.0.0.1:0", &data, &settings);
    login(&registry);
    assert_eq!(user.run(&format!("crane ls {}", registry.at("team/app"))), "1\n1b\n2");
    user.run(&format!("crane validate --remote {}", registry.at("team/app:2")));
    user.run(&format!("crane push app {}", registry.at("team/app:3")));
    let links = data.join("docker/registry/v2/repositories/team/app/_manifests/tags/2/current/link");
    eventually("the links are written", || links.exists());
    registry.kill();
    // The first machine is back, with an older database.
    let serve = |config: &Path, data: &Path| {
        let (config, data) = (config.display(), data.display());
        user.fails(&format!("{wharfinger} serve --config {config} --listen 127.0.0.1:0 --data {data}"))
    };
    let files = user.path("files.toml");
    fs::write(&files, "[blobs]\nship_metadata = \"1m\"\n").expect("a settings file");
    assert!(serve(&files, &user.path("files")).contains("blobs.ship_metadata needs blobs.url"));
    let refused = serve(&own, old.path());
    assert!(refused.contains("were continued in another data directory"), "{refused}");
    let registry = Server::configured_at("127.0.0.1:0", &data, &settings);
    login(&registry);
    assert_eq!(user.run(&format!("crane ls {}", registry.at("team/app"))), "1\n1b\n2\n3");
}

#[test]
fn damaged_snapshot_names_the_next_step() {
    let store = ObjectStore::start();
    let user = Terminal::open();
    let settings = format!("{}ship_metadata = 0\n", store.settings("hurt"));
    let own = user.path("own.toml");
    fs::write(&own, &settings).expect("a settings file");
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    let registry = Server::configured_at("127.0.0.1:0", &user.path("old"), &settings);
    Image::saved(&user, "app", "hurt");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));
    user.run(&format!("{wharfinger} backup saved --data {}", user.path("old").display()));
    user.run(&format!("crane push app {}", registry.at("team/app:2")));
    let log = "hurt/wharfinger/metadata/log";
    let last = || store.object(log).join(store.keys(log).last().expect("changes"));
    // The changes of a push that is not the last thing that was shipped.
    let damaged = last();
    user.run(&format!("crane tag {} 3", registry.at("team/app:2")));
    assert_ne!(damaged, last());
    drop(registry.stop());

    let serve = |data: &str| {
        user.fails(&format!(
            "{wharfinger} serve --config {} --listen 127.0.0.1:0 --data {data}",
            own.display()
        ))
    };
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    fs::write(&damaged, "altered").expect("an object");
    let told = serve("new");
    assert!(told.contains(&name(&damaged)) && told.contains("remove it to go on"), "{told}");
    fs::remove_file(&damaged).expect("an object");
    let registry = Server::configured_at("127.0.0.1:0", &user.path("new"), &settings);
    assert_eq!(user.run(&format!("crane ls {}", registry.at("team/app"))), "1");
    registry.wait_for_log("changes of the metadata are missing");
    drop(registry.stop());

    // Of the snapshot, nothing can be left out.
    let place = "hurt/wharfinger/metadata";
    let snapshot = store
        .keys(place)
        .into_iter()
        .find(|key| key.extension().is_some_and(|end| end == "gz") && key.components().count() == 1);
    let snapshot = store.object(place).join(snapshot.expect("a snapshot"));
    for content in [Some("altered"), None] {
        match content {
            Some(content) => fs::write(&snapshot, content).expect("an object"),
            None => fs::remove_file(&snapshot).expect("an object"),
        }
        let told = serve("newer");
        assert!(told.contains(&name(&snapshot)) && told.contains("wharfinger restore FILE"), "{told}");
    }
    // The steps of the message.
    user.run(&format!("{wharfinger} restore saved --config {} --data newer", own.display()));
    let told = serve("newer");
    assert!(told.contains("remove s3://images/hurt/wharfinger/metadata/newest"), "{told}");
    fs::remove_file(store.object(place).join("newest")).expect("an object");
    let registry = Server::configured_at("127.0.0.1:0", &user.path("newer"), &settings);
    assert_eq!(user.run(&format!("crane ls {}", registry.at("team/app"))), "1");
    user.run(&format!("crane validate --remote {}", registry.at("team/app:1")));
}

#[test]
fn acknowledged_pushes_survive_a_lost_machine() {
    let store = ObjectStore::start();
    let user = Terminal::open();
    let (old, new) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let settings = format!("{}ship_metadata = 0\n", store.settings("lost"));
    let registry = Server::configured_at("127.0.0.1:0", old.path(), &settings);
    Image::saved(&user, "app", "lost");
    user.run(&format!("crane push app {}", registry.at("team/app:0")));
    // Pushes go on until the machine is gone.
    user.run(&format!(
        "for writer in 1 2 3 4; do {{ n=0; while crane tag {} $writer-$n; do echo $writer-$n >>done; n=$((n+1)); done; }} \
         >tag.$writer 2>&1 & done",
        registry.at("team/app:0")
    ));
    let tagged = || fs::read_to_string(user.path("done")).unwrap_or_default();
    eventually("tags are pushed", || tagged().lines().count() > 60);
    registry.kill();
    drop(old);

    // The first command on the new machine waits to see that the old server is gone.
    let own = user.path("own.toml");
    fs::write(&own, &settings).expect("a settings file");
    let data = new.path().join("data");
    fs::create_dir_all(data.join("wharfinger")).expect("a data directory");
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    user.run(&format!("{wharfinger} ls --config {} --data {}", own.display(), data.display()));
    let registry = Server::configured_at("127.0.0.1:0", &data, &settings);
    let listed = user.run(&format!("crane ls {}", registry.at("team/app")));
    let listed: Vec<_> = listed.lines().collect();
    let lost: Vec<_> = tagged().lines().filter(|tag| !listed.contains(tag)).map(str::to_owned).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", tagged().lines().count());
    user.run(&format!("crane validate --remote {}", registry.at("team/app:0")));
    user.run(&format!("crane push app {}", registry.at("team/app:after")));

    // Without the store, no push is acknowledged.
    let mut store = store;
    store.stop();
    let failed = user.run(&format!(
        "curl -s -o /dev/null -w '%{{http_code}}' -X DELETE http://{}/v2/team/app/manifests/after",
        registry.address()
    ));
    assert_eq!(failed, "503");
    store.start_again();
    eventually("changes are acknowledged again", || {
        user.run(&format!(
            "crane tag {} again >again.log 2>&1 && echo yes || echo no",
            registry.at("team/app:0")
        )) == "yes"
    });
}

#[test]
fn directory_and_bucket_belong_together() {
    let store = ObjectStore::start();
    let user = Terminal::open();
    let data = user.path("data");
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    let settings = |name: &str, text: &str| {
        let path = user.path(name);
        fs::write(&path, text).expect("a settings file");
        path.display().to_string()
    };
    let own = settings("own.toml", &store.settings("own"));
    let other = settings("other.toml", &store.settings("other"));
    let none = settings("none.toml", "");
    let registry = Server::configured_at("127.0.0.1:0", &data, &store.settings("own"));
    Image::saved(&user, "app", "kept");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));
    drop(registry);

    let ls = |config: &str| format!("{wharfinger} ls --config {config} --data {}", data.display());
    assert!(user.run(&ls(&own)).contains("team/app"));
    assert!(user.fails(&ls(&none)).contains("set blobs.url"));
    assert!(user.fails(&ls(&other)).contains("and not in s3://images/other"));
    let flags = user.fails(&format!(
        "{} {wharfinger} serve --config {none} --listen 127.0.0.1:0 --blobs s3://images/own --data elsewhere",
        store.variables()
    ));
    assert!(flags.contains("holds the blobs of another database"), "{flags}");
    let gateway = user
        .fails(&format!("{wharfinger} gateway --upstream http://127.0.0.1:1 --config {own} --data gateway"));
    assert!(gateway.contains("a gateway stores no blobs"), "{gateway}");

    let copied = user
        .fails(&format!("{wharfinger} backup copy --with-blobs --config {own} --data {}", data.display()));
    assert!(copied.contains("the blobs are in s3://images/own"), "{copied}");
    user.run(&format!("{wharfinger} backup file --config {own} --data {}", data.display()));
    user.run(&format!("{wharfinger} restore file --config {own} --data restored"));
    assert!(
        user.fails(&format!("{wharfinger} ls --config {none} --data restored")).contains("set blobs.url")
    );
    let checked = user.run(&format!("{wharfinger} check --read --config {own} --data restored"));
    assert!(checked.contains("1 repositor"), "{checked}");
}
