//! Several servers of one registry, with PostgreSQL and a bucket: docker, crane, skopeo and curl through
//! nginx and directly, while servers end and the database restarts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tempfile::TempDir;

use crate::client::client;
use crate::harness::object_servers::faults::Fault;
use crate::harness::postgres::{SERVER, Server as Database, psql, unused_port, with_schema};
use crate::harness::{
    Engine, Image, Nginx, ObjectStore, PASSWORD, Page, Server, Terminal, docker_runs_an_image, free_address,
};
use crate::model::{Model, SETTINGS};

/// Servers with one database and one bucket.
struct Cluster {
    store: ObjectStore,
    /// The fault of a proxy before the bucket.
    fault: Fault,
    schema: String,
    settings: String,
    addresses: [String; 3],
    data: TempDir,
    servers: [Option<Server>; 3],
}

impl Cluster {
    /// Starts servers, of which the first one is the primary.
    fn start(schema: &str, settings: &str) -> Cluster {
        Cluster::start_on(with_schema(&SERVER.socket_url(), schema), settings)
    }

    fn start_on(schema: String, settings: &str) -> Cluster {
        Cluster::start_with(schema, settings, Fault::Nothing)
    }

    fn start_with(schema: String, settings: &str, fault: Fault) -> Cluster {
        let mut cluster = Cluster {
            store: ObjectStore::start(),
            fault,
            schema,
            settings: settings.to_owned(),
            addresses: [(); 3].map(|()| free_address()),
            data: TempDir::new().expect("a temporary directory"),
            servers: [None, None, None],
        };
        for server in 0..3 {
            cluster.launch(server);
        }
        assert_eq!(cluster.primary(), Some(0));
        cluster
    }

    fn launch(&mut self, server: usize) {
        let address = &self.addresses[server];
        let settings = self.settings_of(server);
        self.servers[server] = Some(Server::configured_at(address, &self.data_of(server), &settings));
    }

    fn data_of(&self, server: usize) -> PathBuf {
        self.data.path().join(server.to_string())
    }

    fn settings_of(&self, server: usize) -> String {
        let address = &self.addresses[server];
        let bucket = match self.fault {
            Fault::Nothing => self.store.settings("cluster"),
            fault => self.store.settings_with(fault, "cluster"),
        };
        format!(
            "{}[metadata]\nurl = \"{}\"\n[cluster]\naddress = \"http://{address}\"\n{}",
            self.settings, self.schema, bucket
        )
    }

    fn server(&self, server: usize) -> &Server {
        self.servers[server].as_ref().expect("it runs")
    }

    /// The primary, as the database names it.
    fn primary(&self) -> Option<usize> {
        let address = psql(&self.schema, "SELECT address FROM writer");
        self.addresses.iter().position(|own| address.trim_end_matches('/') == format!("http://{own}"))
    }

    /// Waits until a server that runs is the primary.
    fn await_primary(&self) -> usize {
        self.await_primary_with("")
    }

    /// Waits until a server that runs is the primary, and takes a push of this account.
    fn await_primary_as(&self, account: &str) -> usize {
        self.await_primary_with(&format!("-u '{account}:{PASSWORD}'"))
    }

    fn await_primary_with(&self, flags: &str) -> usize {
        let mut found = None;
        let flags = format!("-X POST {flags}");
        eventually("a primary", || {
            found = self.primary().filter(|primary| {
                self.servers[*primary].is_some() && status(&flags, &self.blob_uploads(*primary)) == "202"
            });
            found.is_some()
        });
        found.expect("it was found")
    }

    fn blob_uploads(&self, server: usize) -> String {
        format!("http://{}/v2/probe/blobs/uploads/", self.addresses[server])
    }

    fn nginx(&self) -> Nginx {
        let [one, two, three] = &self.addresses;
        Nginx::start(
            Page::SEVERAL_SERVERS.block("nginx"),
            &[("10.0.0.5:5000", one), ("10.0.0.6:5000", two), ("10.0.0.7:5000", three)],
        )
    }

    /// Adds a user on the primary.
    fn add_user(&self, name: &str, flag: &str) {
        let data = self.server(0).data().display();
        let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
        Terminal::open().run(&format!(
            "echo '{PASSWORD}' | {wharfinger} user add {name} --password-stdin {flag} --data {data}"
        ));
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn status(flags: &str, url: &str) -> String {
    Terminal::open().run(&format!("curl -s -o /dev/null -w '%{{http_code}}' {flags} {url} || true"))
}

#[test]
fn docker_pushes_and_pulls_through_any_server() {
    let cluster = Cluster::start("cluster_docker", "");
    // The last replica has just started, and waits until it has found the primary.
    assert_eq!(status("-X POST", &cluster.blob_uploads(2)), "202");
    let nginx = cluster.nginx();
    docker_runs_an_image(cluster.server(1), "from a replica");
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = nginx.at("team/app:1");
    engine.builds(&user, &image, "through a load balancer");
    user.run(&format!("docker push {image} && docker rmi {image}"));
    for server in 0..3 {
        let image = cluster.server(server).at("team/app:1");
        user.run(&format!("docker pull {image}"));
        assert_eq!(user.run(&format!("docker run --rm --network=none {image}")), "through a load balancer");
        user.run(&format!("docker rmi {image}"));
    }
    let copy = nginx.at("team/copy:1");
    user.run(&format!(
        "skopeo copy --src-tls-verify=false --dest-tls-verify=false docker://{image} docker://{copy}"
    ));
    let found = user.run(&format!("docker search {}", cluster.server(2).at("team")));
    assert!(found.contains("team/copy"), "{found}");
    assert!(
        cluster.server(2).log().contains("endpoint=\"blob\" status=200"),
        "a replica serves blobs itself"
    );
}

#[test]
fn change_on_one_server_counts_at_once_on_another() {
    let cluster = Cluster::start("cluster_changes", "[registry]\n");
    let user = Terminal::open();
    let images = [Image::saved(&user, "one", "one"), Image::saved(&user, "two", "two")];
    let [first, second, third] = [0, 1, 2].map(|server| cluster.server(server));
    user.run(&format!("crane push one {}", first.at("team/app:one")));
    user.run(&format!("crane push two {}", second.at("team/app:two")));
    for _ in 0..5 {
        for (name, image) in ["one", "two"].into_iter().zip(&images) {
            user.run(&format!("crane tag {} moving", third.at(&format!("team/app:{name}"))));
            for server in [first, second, third] {
                assert_eq!(user.run(&format!("crane digest {}", server.at("team/app:moving"))), image.digest);
            }
        }
    }
    user.run(&format!("crane delete {}@{}", second.at("team/app"), images[0].digest));
    for server in [first, third] {
        assert_eq!(user.run(&format!("crane ls {}", server.at("team/app"))), "moving\ntwo");
        user.fails(&format!("crane digest {}", server.at("team/app:one")));
    }

    // Accounts, tokens and grants.
    assert_eq!(status("", &format!("http://{}/v2/_catalog", third.address())), "200");
    cluster.add_user("root", "--admin");
    assert_eq!(status("", &format!("http://{}/v2/_catalog", third.address())), "401");
    cluster.add_user("ann", "");
    let tags = "/v2/team/app/tags/list";
    let token = user.run(&format!(
        "curl -sSf -u 'ann:{PASSWORD}' 'http://{}/token?service=wharfinger&scope=repository:team/app:pull' | jq -r .token",
        second.address()
    ));
    let bearer = format!("-H 'Authorization: Bearer {token}'");
    assert_ne!(status(&bearer, &format!("http://{}{tags}", third.address())), "200");
    first.says("grant add ann pull team/**");
    let token = user.run(&format!(
        "curl -sSf -u 'ann:{PASSWORD}' 'http://{}/token?service=wharfinger&scope=repository:team/app:pull' | jq -r .token",
        second.address()
    ));
    let bearer = format!("-H 'Authorization: Bearer {token}'");
    for _ in 0..3 {
        assert_eq!(status(&bearer, &format!("http://{}{tags}", third.address())), "200");
    }
    first.says("user change ann --disable");
    assert_eq!(status(&bearer, &format!("http://{}{tags}", third.address())), "401");
    // The primary sees passwords that are sent to a replica, and the address of their client.
    let guessed = format!("--interface 127.0.0.9 -u root:wrong http://{}/v2/", third.address());
    assert_eq!(status("", &guessed), "401");
    let audit = first.says("audit --denied --json");
    assert!(audit.contains("\"address\":\"127.0.0.9\""), "{audit}");
}

#[test]
fn upload_goes_on_at_other_servers() {
    let cluster = Cluster::start("cluster_upload", "");
    let user = Terminal::open();
    user.run("head -c 30000000 /dev/urandom > layer && split -b 10000000 layer part.");
    let digest = format!("sha256:{}", user.run("sha256sum layer | cut -d' ' -f1"));
    let path = "tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'";
    let mut upload = user.run(&format!(
        "curl -sSf -o /dev/null -D - -X POST http://{}/v2/team/large/blobs/uploads/ | {path}",
        cluster.addresses[1]
    ));
    for (server, part) in ["aa", "ab", "ac"].into_iter().enumerate() {
        upload = user.run(&format!(
            "curl -sSf -o /dev/null -D - -X PATCH -H 'Content-Type: application/octet-stream' --data-binary \
             @part.{part} 'http://{}{upload}' | {path}",
            cluster.addresses[server]
        ));
    }
    user.run(&format!("curl -sSf -X PUT 'http://{}{upload}?digest={digest}'", cluster.addresses[2]));
    for address in &cluster.addresses {
        user.run(&format!(
            "curl -sSf -o back http://{address}/v2/team/large/blobs/{digest} && cmp layer back"
        ));
        user.run(&format!(
            "curl -sSf -r 1000-1999 -o range http://{address}/v2/team/large/blobs/{digest} && \
             tail -c +1001 layer | head -c 1000 | cmp - range"
        ));
    }
}

#[test]
fn upload_goes_on_after_its_server_was_killed() {
    let mut cluster = Cluster::start("cluster_upload_kill", "");
    let user = Terminal::open();
    user.run("head -c 50000000 /dev/urandom > layer && split -b 20000000 layer part.");
    let digest = format!("sha256:{}", user.run("sha256sum layer | cut -d' ' -f1"));
    let path = "tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'";
    let begin = |cluster: &Cluster, server: usize| {
        let at = &cluster.addresses[server];
        user.run(&format!(
            "curl -sSf -o /dev/null -D - -X POST http://{at}/v2/team/large/blobs/uploads/ | {path}"
        ))
    };
    let patch = |cluster: &Cluster, server: usize, range: &str, part: &str, upload: &str| {
        let at = &cluster.addresses[server];
        user.run(&format!(
            "curl -sSf --retry 10 -o /dev/null -D - -X PATCH {range} -H 'Content-Type: application/octet-stream' \
             --data-binary @{part} 'http://{at}{upload}' | {path}"
        ))
    };
    let mut upload = begin(&cluster, 1);
    // Sent as a whole, and nobody goes on with it.
    let whole = begin(&cluster, 2);
    let whole = patch(&cluster, 2, "", "part.aa", &whole);
    let mut first = 0;
    for part in ["aa", "ab", "ac"] {
        let last = first + user.run(&format!("stat -c %s part.{part}")).parse::<u64>().expect("a size") - 1;
        let primary = cluster.await_primary();
        let server = (primary + 1) % 3;
        upload = patch(
            &cluster,
            server,
            &format!("-H 'Content-Range: {first}-{last}'"),
            &format!("part.{part}"),
            &upload,
        );
        cluster.servers[primary].take().expect("it runs").kill();
        let next = cluster.await_primary();
        let range = user.run(&format!(
            "curl -sSf -o /dev/null -D - 'http://{}{upload}' | tr -d '\\r' | sed -n 's/^[Rr]ange: //p'",
            cluster.addresses[next]
        ));
        assert_eq!(range, format!("0-{last}"));
        if first == 0 {
            assert_eq!(status("", &format!("'http://{}{whole}'", cluster.addresses[next])), "404");
        }
        cluster.launch(primary);
        first = last + 1;
    }
    let primary = cluster.await_primary();
    user.run(&format!("curl -sSf -X PUT 'http://{}{upload}?digest={digest}'", cluster.addresses[primary]));
    for address in &cluster.addresses {
        user.run(&format!(
            "curl -sSf -o back http://{address}/v2/team/large/blobs/{digest} && cmp layer back"
        ));
    }
    let left = cluster.store.keys("cluster/wharfinger/tails");
    assert!(left.is_empty(), "{left:?}");
}

/// Pushes without an end, and notes what was acknowledged.
struct Pushers {
    pushed: Arc<Mutex<BTreeMap<String, String>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Pushers {
    fn start(at: &str) -> Pushers {
        let pushed = Arc::new(Mutex::new(BTreeMap::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let push = |pusher| {
            let (pushed, is_over, at) = (pushed.clone(), is_over.clone(), at.to_owned());
            thread::spawn(move || {
                let user = Terminal::open();
                for count in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let image = Image::saved(&user, &format!("image{count}"), &format!("{pusher}.{count}"));
                    let name = format!("team/app{pusher}:{count}");
                    // One that is cut off may be there or not.
                    let answer = user.run(&format!(
                        "crane push image{count} {at}{name} >/dev/null 2>&1 && echo yes || echo no"
                    ));
                    if answer == "yes" {
                        pushed.lock().expect("nobody panics with it").insert(name, image.digest);
                    }
                }
            })
        };
        let threads = (0..3).map(push).collect();
        Pushers { pushed, is_over, threads }
    }

    fn go_on(&self) {
        let count = || self.pushed.lock().expect("nobody panics with it").len();
        let before = count();
        eventually("pushes go on", || count() >= before + 5);
    }

    /// One that was pushed.
    fn first(&self) -> (String, String) {
        let pushed = self.pushed.lock().expect("nobody panics with it");
        let (name, digest) = pushed.first_key_value().expect("one was pushed");
        (name.clone(), digest.clone())
    }

    /// Ends the pushes, and pulls everything that was acknowledged.
    fn end(self, cluster: &Cluster) {
        self.go_on();
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a pusher");
        }
        let user = Terminal::open();
        let pushed = self.pushed.lock().expect("nobody panics with it");
        for (index, (name, digest)) in pushed.iter().enumerate() {
            let server = cluster.server(index % 3);
            assert_eq!(&user.run(&format!("crane digest {}", server.at(name))), digest, "{name}");
            user.run(&format!(
                "crane pull --format oci {} back{index} && rm -r back{index}",
                server.at(name)
            ));
        }
        let primary = cluster.await_primary();
        let checked = cluster.server(primary).says("check --read");
        assert!(checked.contains(": nothing missing"), "{checked}");
    }
}

#[test]
fn commands_on_a_replica_name_the_remedy() {
    let mut cluster = Cluster::start("cluster_commands", "");
    assert_eq!(status("-X POST", &cluster.blob_uploads(1)), "202", "the replica knows the primary");
    cluster.server(1).says("gc --dry-run");
    let data = cluster.data_of(1);
    let fails = |command: &str| {
        let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
        Terminal::open().run(&format!("! {wharfinger} {command} --data {} 2>&1 >/dev/null", data.display()))
    };
    for command in ["gc --now", "check"] {
        let told = fails(command);
        let expected = format!(
            "error: this server is a replica, and only the primary server of the registry, http://{}, does that: name any \
             server with --server URL",
            cluster.addresses[0]
        );
        assert_eq!(told.trim(), expected, "{command}");
    }
    cluster.servers[1].take().expect("it runs").stop();
    let config = cluster.data.path().join("wharfinger.toml");
    fs::write(&config, cluster.settings_of(1)).expect("a file");
    let told = fails(&format!("ls --config {}", config.display()));
    assert!(told.contains("does not join a cluster") && told.contains("with --server URL"), "{told}");
    assert!(!told.contains("each of them"), "{told}");
}

#[test]
fn acknowledged_pushes_survive_killed_servers() {
    let mut cluster = Cluster::start("cluster_kills", "");
    let nginx = cluster.nginx();
    let pushers = Pushers::start(&nginx.at(""));
    for round in 0..3 {
        pushers.go_on();
        let primary = cluster.await_primary();
        let victim = if round == 1 { (primary + 1) % 3 } else { primary };
        cluster.servers[victim].take().expect("it runs").kill();
        // Images are pulled meanwhile.
        let (name, digest) = pushers.first();
        assert_eq!(Terminal::open().run(&format!("crane digest {}", nginx.at(&name))), digest);
        cluster.await_primary();
        cluster.launch(victim);
    }
    pushers.end(&cluster);
}

#[test]
fn pushes_survive_failures_of_database_and_bucket() {
    let database = Database::start(unused_port());
    let schema = with_schema(&database.socket_url(), "cluster_failures");
    let mut cluster = Cluster::start_on(schema, "");
    let nginx = cluster.nginx();
    let pushers = Pushers::start(&nginx.at(""));
    for round in 0..4 {
        pushers.go_on();
        if round % 2 == 0 {
            database.restart(if round == 0 { "fast" } else { "immediate" });
        } else {
            cluster.store.stop();
            let ready = format!("http://{}/readyz", cluster.addresses[cluster.await_primary()]);
            eventually("the primary notices it", || status("", &ready) == "503");
            cluster.store.start_again();
        }
        cluster.await_primary();
    }
    pushers.end(&cluster);
}

#[test]
fn acknowledged_pushes_survive_failovers() {
    let mut database = Database::start(unused_port());
    let mut standby = database.with_standby(unused_port());
    let schema = with_schema(&database.url_with(&standby), "cluster_failovers");
    let cluster = Cluster::start_on(schema, "");
    let nginx = cluster.nginx();
    let pushers = Pushers::start(&nginx.at(""));
    for _ in 0..2 {
        pushers.go_on();
        database.stop("immediate");
        standby.promote();
        cluster.await_primary();
        // The next standby has the address of the server that was lost.
        let next = standby.with_standby(database.port());
        database = std::mem::replace(&mut standby, next);
    }
    pushers.end(&cluster);
}

/// Each fifth request to the bucket fails, servers are killed and the database restarts, while clients change
/// the same content in all ways and garbage is collected.
#[test]
fn acknowledged_operations_survive_faults_of_several_servers() {
    const CLIENTS: u64 = 4;
    let database = Database::start(unused_port());
    let schema = with_schema(&database.socket_url(), "cluster_model");
    let settings = format!("{SETTINGS}[gc]\ngrace = \"2s\"\ninterval = \"2s\"\nuntagged = \"0s\"\n");
    let mut cluster = Cluster::start_with(schema, &settings, Fault::Fail(5));
    cluster.add_user("root", "--admin");
    cluster.server(0).says("grant add everyone pull team/**");
    let nginx = cluster.nginx();
    let url = format!("http://{}", nginx.at("").trim_end_matches('/'));
    let authorization = format!("Basic {}", BASE64.encode(format!("root:{PASSWORD}")));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let http = client();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut model =
                Model::new(1, number, CLIENTS, &authorization, acknowledged.clone()).behind_proxy();
            let (http, url, is_over) = (http.clone(), url.clone(), is_over.clone());
            runtime.spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    // An operation without an answer may be carried out or not.
                    _ = model.operate(&http, &url).await;
                }
                model
            })
        })
        .collect();
    let go_on = || {
        let before = acknowledged.load(Ordering::Relaxed);
        eventually("operations go on", || {
            acknowledged.load(Ordering::Relaxed) >= before + 40 || clients.iter().any(|one| one.is_finished())
        });
    };
    for round in 0..4 {
        go_on();
        if round == 2 {
            database.restart("immediate");
        } else {
            let primary = cluster.await_primary_as("root");
            let victim = if round == 1 { (primary + 1) % 3 } else { primary };
            cluster.servers[victim].take().expect("it runs").kill();
            cluster.await_primary_as("root");
            cluster.launch(victim);
        }
    }
    go_on();
    is_over.store(true, Ordering::Relaxed);
    let primary = cluster.await_primary_as("root");
    for client in clients {
        let mut model = runtime.block_on(client).expect("the model holds");
        for address in &cluster.addresses {
            runtime.block_on(model.settle(&http, &format!("http://{address}"))).expect("an answer");
        }
    }
    let checked = cluster.server(primary).says("check --read");
    assert!(checked.contains(": nothing missing"), "{checked}");
    println!("{} acknowledged operations, none lost", acknowledged.load(Ordering::Relaxed));
}

#[test]
fn suspended_primary_is_replaced() {
    let cluster = Cluster::start("cluster_suspended", "");
    let user = Terminal::open();
    Image::saved(&user, "app", "app");
    user.run(&format!("crane push app {}", cluster.server(0).at("team/app:1")));
    let pid = cluster.server(0).pid();
    user.run(&format!("kill -STOP {pid}"));
    // Pulls go on.
    user.run(&format!("crane pull --format oci {} back", cluster.server(1).at("team/app:1")));
    eventually("another primary", || cluster.primary().is_some_and(|primary| primary != 0));
    let primary = cluster.await_primary();
    user.run(&format!("crane push app {}", cluster.server(3 - primary).at("team/app:2")));
    user.run(&format!("kill -CONT {pid}"));
    cluster.server(0).wait_for_log("becomes a replica");
    let again = cluster.server(0).at("team/app:2");
    eventually("the former primary is a replica", || {
        user.run(&format!("crane digest {again} >/dev/null 2>&1 && echo yes || echo no")) == "yes"
    });
    user.run(&format!("crane push app {}", cluster.server(0).at("team/app:3")));
}

#[test]
fn wrong_address_of_the_primary_gets_no_requests() {
    let mut cluster = Cluster::start("cluster_address", "");
    // The S3 server is at the address that the next primary names.
    let right = cluster.addresses.clone();
    cluster.servers = [None, None, None];
    cluster.addresses[0] = cluster.store.endpoint().replace("http://", "");
    let settings = format!(
        "[metadata]\nurl = \"{}\"\n[cluster]\naddress = \"{}\"\n{}",
        cluster.schema,
        cluster.store.endpoint(),
        cluster.store.settings("cluster")
    );
    let data = cluster.data.path().join("0");
    cluster.servers[0] = Some(Server::configured_at(&right[0], &data, &settings));
    cluster.launch(1);
    let replica = cluster.server(1);
    replica.wait_for_log("is not at the address that it names");
    assert_eq!(status("-X POST", &cluster.blob_uploads(1)), "503");
    assert_eq!(status("", &format!("http://{}/v2/", replica.address())), "200");
    assert!(replica.log().contains("another server answers there"), "{}", replica.log());
}

#[test]
fn servers_reach_each_other_by_https() {
    let (store, user) = (ObjectStore::start(), Terminal::open());
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    user.run(&format!("{wharfinger} cert make 127.0.0.1 --out certs"));
    let schema = with_schema(&SERVER.socket_url(), "cluster_https");
    let addresses = [(); 2].map(|()| free_address());
    let certificate = user.path("certs/server.pem").display().to_string();
    let key = user.path("certs/server.key").display().to_string();
    let launch = |server: usize, ca: &str| {
        let address = &addresses[server];
        let settings = format!(
            "[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n[metadata]\nurl = \"{schema}\"\n\
             [cluster]\naddress = \"https://{address}\"\n{ca}{}",
            store.settings("cluster")
        );
        Server::configured_at(address, &user.path(&format!("data{server}")), &settings)
    };
    let trusted = format!("ca = \"{certificate}\"\n");
    let primary = launch(0, &trusted);
    let replica = launch(1, "");
    replica.wait_for_log("is not at the address that it names");
    assert!(replica.log().contains("certificate"), "{}", replica.log());
    replica.stop();
    let replica = launch(1, &trusted);
    let image = Image::saved(&user, "app", "app");
    let crane = format!("SSL_CERT_FILE={certificate} crane");
    user.run(&format!("{crane} push app {}", replica.at("team/app:1")));
    for server in [&primary, &replica] {
        assert_eq!(user.run(&format!("{crane} digest {}", server.at("team/app:1"))), image.digest);
    }
}

#[test]
fn replica_with_another_bucket_is_refused() {
    let cluster = Cluster::start("cluster_bucket", "");
    let user = Terminal::open();
    Image::saved(&user, "app", "app");
    user.run(&format!("crane push app {}", cluster.server(0).at("team/app:1")));
    let file = cluster.data.path().join("other.toml");
    let address = free_address();
    let settings = format!(
        "[metadata]\nurl = \"{}\"\n[cluster]\naddress = \"http://{address}\"\n{}",
        cluster.schema,
        cluster.store.settings("another")
    );
    std::fs::write(&file, settings).expect("a settings file");
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    let refused = user
        .fails(&format!("{wharfinger} serve --listen {address} --data other --config {}", file.display()));
    assert!(refused.contains("is not the bucket of this database"), "{refused}");
}

#[test]
fn stopped_primary_is_replaced_at_once() {
    let mut cluster = Cluster::start("cluster_stop", "");
    let user = Terminal::open();
    Image::saved(&user, "app", "app");
    user.run(&format!("crane push app {}", cluster.server(0).at("team/app:1")));
    cluster.servers[0].take().expect("it runs").stop();
    let primary = cluster.await_primary();
    assert!(!cluster.server(primary).log().contains("waiting to see"), "the lease was released");
    user.run(&format!("crane push app {}", cluster.server(3 - primary).at("team/app:2")));
    // A command on the directory of a replica names the primary.
    let replica = cluster.server(3 - primary).data().display().to_string();
    let wharfinger = env!("CARGO_BIN_EXE_wharfinger");
    let refused = user.fails(&format!("{wharfinger} tag team/app:1 team/app:3 --data {replica}"));
    assert!(refused.contains("replica"), "{refused}");
}

/// A load balancer sends requests as soon as a server takes connections, and a replica opens anew whenever it
/// did not become the primary.
#[test]
fn replica_answers_pulls_from_its_first_request() {
    let mut cluster = Cluster::start("cluster_first_pull", "");
    let user = Terminal::open();
    Image::saved(&user, "app", "app");
    user.run(&format!("crane push app {}", cluster.server(0).at("team/app:1")));
    cluster.servers[1].take().expect("it runs").stop();
    let url = format!("http://{}/v2/team/app/manifests/1", cluster.addresses[1]);
    // The first answers, of four clients that connect until one comes.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let connect = format!(
                "while true; do code=$(curl -s -o /dev/null -w '%{{http_code}}' {url} || true); \
                 [ \"$code\" = 000 ] || break; done; echo $code"
            );
            thread::spawn(move || Terminal::open().run(&connect))
        })
        .collect();
    cluster.launch(1);
    for client in clients {
        assert_eq!(client.join().expect("a client"), "200");
    }
}
