//! The commands on a data directory, with and without a running server, and with mistakes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod backup;
mod certificate;
mod collection;
#[path = "../clients/harness/daemon.rs"]
mod daemon;
mod data_directory;
mod prometheus;
#[path = "../durability/pusher.rs"]
#[allow(dead_code, reason = "the durability suite needs more of it")]
mod pusher;
#[allow(dead_code, reason = "the tests of durability need more of it")]
#[path = "../durability/random.rs"]
mod random;
mod reload;
mod rules;
mod service;
mod signals;
mod traces;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use daemon::Daemon;
use serde_json::Value;
use tempfile::TempDir;

const WHARFINGER: &str = env!("CARGO_BIN_EXE_wharfinger");

/// A data directory with one image, and optionally a running server.
struct Registry {
    scratch: TempDir,
    server: Option<(Daemon, String)>,
}

impl Registry {
    /// Starts a server and pushes the image.
    fn serving() -> Registry {
        let scratch = TempDir::new().unwrap();
        let mut registry = Registry { scratch, server: None };
        registry.start();
        let url = registry.url();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(pusher::push_image(&reqwest::Client::new(), &url, 1)).unwrap();
        registry
    }

    /// Starts a server with a configuration file, and pushes an image.
    fn configured(settings: &str) -> Self {
        let mut registry = Self { scratch: tempfile::TempDir::new().unwrap(), server: None };
        fs::write(registry.config(), settings).unwrap();
        let (data, config) = (registry.data(), registry.config());
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--config"];
        let words = [&serve[..], &[config.to_str().unwrap()]].concat();
        let daemon = Daemon::start(WHARFINGER, &words, &registry.scratch.path().join("log"));
        let url = format!("http://{}", daemon.address());
        registry.server = Some((daemon, url));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let url = registry.url();
        runtime.block_on(pusher::push_image(&reqwest::Client::new(), &url, 1)).unwrap();
        registry
    }

    fn config(&self) -> PathBuf {
        self.scratch.path().join("wharfinger.toml")
    }

    /// Pushes the image and stops the server.
    fn at_rest() -> Registry {
        let mut registry = Registry::serving();
        registry.server.take().unwrap().0.stop();
        registry
    }

    fn start(&mut self) {
        let data = self.data();
        let log = self.scratch.path().join("log");
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
        let daemon = Daemon::start(WHARFINGER, &serve, &log);
        let url = format!("http://{}", daemon.address());
        self.server = Some((daemon, url));
    }

    fn url(&self) -> String {
        self.server.as_ref().unwrap().1.clone()
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// Runs a command on the data directory.
    fn run(&self, command: &str) -> Output {
        let mut words: Vec<&str> = command.split(' ').collect();
        let data = self.data();
        words.extend(["--data", data.to_str().unwrap()]);
        run(&words, self.scratch.path())
    }

    /// Runs a command that must succeed, and returns its output.
    fn says(&self, command: &str) -> String {
        success(command, &self.run(command))
    }

    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{command} --json"))).unwrap()
    }

    /// Runs a command that must exit with this code, and returns its standard error.
    fn refuses(&self, command: &str, code: i32) -> String {
        let output = self.run(command);
        assert_eq!(output.status.code(), Some(code), "{command}: {}", text(&output.stderr));
        text(&output.stderr)
    }
}

fn run(words: &[&str], directory: &Path) -> Output {
    Command::new(WHARFINGER).args(words).current_dir(directory).output().unwrap()
}

fn success(command: &str, output: &Output) -> String {
    assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn image_commands_work_with_and_without_server() {
    for registry in [Registry::serving(), Registry::at_rest()] {
        let image = pusher::describe(1);
        let digest = image.manifest.to_string();
        assert!(registry.says("ls").contains("team/app-1"), "listed");
        let tags = registry.json("ls team/app-1");
        assert_eq!(tags[0]["tag"], "v1");
        assert_eq!(tags[0]["digest"], digest);
        let inspected = registry.json("inspect team/app-1:v1");
        assert_eq!(inspected["digest"], digest);
        assert_eq!(inspected["platform"], "linux/amd64");
        assert_eq!(inspected["layers"][0]["digest"], image.blobs[1].to_string());
        assert!(registry.says("inspect team/app-1:v1 --raw").starts_with(r#"{"schemaVersion":2"#));
        assert_eq!(registry.json("search app")[0]["name"], "team/app-1");
        let usage = registry.json("du");
        assert_eq!(usage["repositories"], 1);
        assert_eq!(usage["by_repository"][0]["own_bytes"], usage["bytes"]);
    }
}

#[test]
fn commands_reach_a_running_server_by_url() {
    let registry = Registry::serving();
    let url = registry.url();
    let output = run(&["ls", "--server", &url], Path::new("/"));
    assert!(success("ls --server", &output).contains("team/app-1"));
    let output = run(&["ls", "--server", "http://127.0.0.1:1"], Path::new("/"));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("cannot reach http://127.0.0.1:1"), "{told}");
    assert!(told.contains("nothing listens on 127.0.0.1:1"), "{told}");
    for wrong in ["localhost:5000", "ftp://localhost", "nonsense"] {
        assert_eq!(run(&["ls", "--server", wrong], Path::new("/")).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn tag_changes_are_visible_to_clients_at_once() {
    let registry = Registry::serving();
    registry.says("tag team/app-1:v1 team/app-1:stable");
    registry.says("tag team/app-1:v1 released/app:1.0");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fetch = |repository: &str, tag: &str| {
        let image = pusher::Image { repository: repository.into(), tag: tag.into(), ..pusher::describe(1) };
        runtime.block_on(pusher::fetch_image(&reqwest::Client::new(), &registry.url(), &image)).unwrap()
    };
    assert!(fetch("team/app-1", "stable"));
    assert!(fetch("released/app", "1.0"), "with all of its blobs");
    registry.says("rm team/app-1:v1");
    assert!(!fetch("team/app-1", "v1"));
    assert!(fetch("team/app-1", "stable"), "the sibling stays");
    registry.says("rm --all --yes team/app-1");
    assert!(!fetch("team/app-1", "stable"));
    assert!(fetch("released/app", "1.0"), "the other repository keeps what it has");
}

#[test]
fn refusals_say_what_to_do() {
    let registry = Registry::at_rest();
    let at = |name: &str| registry.scratch.path().join(name).display().to_string();
    fs::write(at("file"), "").unwrap();
    let theirs = [("root/etc/buildkit", "buildkitd.toml"), ("root/etc/docker", "daemon.json")];
    for (directory, file) in theirs {
        fs::create_dir_all(at(directory)).unwrap();
        fs::write(at(directory) + "/" + file, "# theirs").unwrap();
    }
    for (command, code, says) in [
        (format!("backup {}/", at("absent")), 1, "there is no directory"),
        (format!("health --data {}", at("file")), 1, "is a file"),
        ("mirror setup --for docker --registry host:5000".to_owned(), 2, "https://host:5000"),
        (format!("mirror setup --for buildkit --write --root {}", at("root")), 1, "did not write"),
        (format!("mirror setup --for docker --write --root {}", at("root")), 1, "daemon.json is not JSON"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let refused = run(&words, registry.scratch.path());
        assert_eq!(refused.status.code(), Some(code), "{command}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(says), "{command}: {}", text(&refused.stderr));
    }
    for (directory, file) in theirs {
        assert_eq!(fs::read_to_string(at(directory) + "/" + file).unwrap(), "# theirs");
    }
}

#[test]
fn command_mistakes_are_named_without_effect() {
    let registry = Registry::at_rest();
    assert!(registry.refuses("rm team/app-1", 2).contains("--all"));
    assert!(registry.refuses("rm --all team/app-1", 2).contains("--yes"), "there is nobody to ask");
    assert!(registry.refuses("rm team/app-1:absent", 1).contains("there is no image"));
    assert!(registry.refuses("inspect team/app-1", 1).contains("team/app-1:latest"));
    assert!(registry.refuses("ls absent", 1).contains("there is no repository absent"));
    assert!(registry.refuses("tag team/app-1:v1 other", 2).contains("has no tag"));
    assert!(registry.refuses("ls Team/App", 2).contains("repository name"));
    assert!(registry.refuses("search absent", 1).contains("nothing matches"));
    assert_eq!(registry.json("ls team/app-1").as_array().unwrap().len(), 1, "the image is still there");
    let hint = registry.refuses("inspect team/app-1", 1);
    let flags = format!("`wharfinger ls team/app-1 --data {}`", registry.data().display());
    assert!(hint.contains(&flags), "{hint}");
    let nowhere = run(&["ls", "--data", "absent"], registry.scratch.path());
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(!registry.scratch.path().join("absent").exists(), "a mistyped path makes no registry");
}

#[test]
fn second_server_is_refused_and_names_the_first() {
    let registry = Registry::serving();
    let data = registry.data();
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()], Path::new("/"));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains(&format!("process {}", registry.server.as_ref().unwrap().0.pid())), "{told}");
}

#[test]
fn check_of_running_server_leaves_it_running() {
    let registry = Registry::serving();
    let report = registry.json("check --read");
    assert_eq!((&report["repositories"], &report["manifests"]), (&1.into(), &1.into()));
    assert_eq!(report["bytes"], registry.json("du")["bytes"], "one meaning of size");
    assert_eq!(report["bytes"], registry.json("ls")[0]["bytes"]);
    let told = registry.says("check");
    assert!(told.starts_with("1 repository, 1 image, 2 layers and configs, "), "{told}");
    assert!(told.ends_with(": nothing missing\n"), "{told}");
    let remote = run(&["check", "--server", &registry.url()], Path::new("/"));
    assert_eq!(remote.status.code(), Some(1), "over the network it takes an administrator");
    assert!(registry.says("ls").contains("team/app-1"));
}

#[test]
fn sizes_agree_after_an_image_is_removed() {
    let registry = Registry::serving();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(pusher::push_image(&reqwest::Client::new(), &registry.url(), 2)).unwrap();
    let digest = pusher::describe(2).manifest;
    registry.says(&format!("rm team/app-2@{digest}"));
    let (listed, used, checked) = (registry.json("ls"), registry.json("du"), registry.json("check"));
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed), ["team/app-1"]);
    assert_eq!(names(&used["by_repository"]), names(&listed));
    assert_eq!((&used["bytes"], &checked["bytes"]), (&listed[0]["bytes"], &listed[0]["bytes"]));
    assert!(used["unreferenced_bytes"].as_u64().unwrap() > 0, "{used}");
}

#[test]
fn server_mistakes_name_the_remedy() {
    let scratch = TempDir::new().unwrap();
    let secure = |arguments: &[&str], name: &str| {
        let (data, log) = (scratch.path().join(name), scratch.path().join(format!("{name}.log")));
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
        Daemon::start(WHARFINGER, &[&serve, arguments].concat(), &log)
    };
    // The certificate of docs/how-to/https.md: self-signed, and marked as an authority.
    let (certificate, key) = (scratch.path().join("server.pem"), scratch.path().join("server.key"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let made = Command::new("openssl")
        .args([
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-x509",
            "-days",
            "3650",
            "-out",
            certificate,
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let https = secure(&["--tls-certificate", certificate, "--tls-key", key], "https");
    let plain = secure(&[], "plain");
    let ls = |server: &str, more: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(WHARFINGER)
            .args([&["ls", "--server", server], more].concat())
            .envs(variables.iter().copied())
            .current_dir("/")
            .output()
            .unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let port = |daemon: &Daemon| daemon.address().rsplit(':').next().unwrap().to_owned();
    let (https, plain) = (port(&https), port(&plain));

    let (code, told) = ls(&format!("https://localhost:{https}"), &["--ca", certificate], &[]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "trusted by name");
    let (code, told) = ls(&format!("https://localhost:{https}"), &[], &[("SSL_CERT_FILE", certificate)]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "trusted by the system");
    let dead = [("http_proxy", "http://127.0.0.1:1"), ("HTTP_PROXY", "http://127.0.0.1:1")];
    assert_eq!(ls(&format!("http://localhost:{plain}"), &[], &dead).0, Some(0), "not through a proxy");
    for (server, more, variables, code, cure) in [
        (
            format!("http://localhost:{https}"),
            &[][..],
            &[][..],
            1,
            format!("--server https://localhost:{https}"),
        ),
        (format!("https://localhost:{plain}"), &[], &[], 1, format!("--server http://localhost:{plain}")),
        (format!("https://localhost:{https}"), &[], &[], 1, "--ca FILE".to_owned()),
        (format!("https://127.0.0.1:{https}"), &["--ca", certificate], &[], 1, "for another name".to_owned()),
        (
            format!("http://localhost:{plain}/v2/"),
            &[],
            &[],
            2,
            format!("--server http://localhost:{plain}\n"),
        ),
        (
            format!("http://localhost:{plain}/hub"),
            &[],
            &[],
            1,
            format!("--server http://localhost:{plain}\n"),
        ),
        (format!("localhost:{plain}"), &[], &[], 2, format!("--server http://localhost:{plain}\n")),
        ("http://registry.invalid".to_owned(), &[], &dead, 1, "proxy in $http_proxy".to_owned()),
        (
            "http://registry.invalid".to_owned(),
            &[],
            &[("no_proxy", "*")],
            1,
            "name registry.invalid".to_owned(),
        ),
    ] {
        let (ended, told) = ls(&server, more, variables);
        assert_eq!(ended, Some(code), "{server}: {told}");
        assert!(told.contains(&cure), "{server}: {told}");
        for library in ["error sending request", "client error", "CaUsedAs", "UnknownIssuer"] {
            assert!(!told.contains(library), "{server}: {told}");
        }
    }
}

#[test]
fn backup_of_stopped_registry_can_be_restored() {
    let registry = Registry::at_rest();
    let copy = registry.scratch.path().join("copy");
    let copied =
        Command::new("cp").args(["--archive", "--reflink=auto"]).arg(registry.data()).arg(&copy).status();
    assert!(copied.unwrap().success());
    fs::remove_dir_all(registry.data()).unwrap();
    fs::rename(&copy, registry.data()).unwrap();
    assert!(registry.says("check --read").ends_with(": nothing missing\n"));
    assert!(registry.says("ls").contains("team/app-1"));
}

#[test]
fn serve_that_fails_makes_no_data_directory() {
    let scratch = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (wrong, code) in [
        (&["--listen", &address][..], 1),
        (&["--listen", "127.0.0.1:0", "--tls-certificate", "absent.pem"], 2),
        (&["--listen", "127.0.0.1:0", "--htpasswd", "absent"], 2),
    ] {
        let output = run(&[&["serve"], wrong].concat(), scratch.path());
        assert_eq!(output.status.code(), Some(code), "{wrong:?}");
        assert!(!scratch.path().join("data").exists(), "{wrong:?}: {}", text(&output.stderr));
    }
}

/// A terminal of 80 columns shortens lists, a pipe does not.
#[test]
fn lists_fit_the_terminal() {
    let registry = Registry::at_rest();
    let digest = pusher::describe(1).manifest.to_string();
    let line =
        format!("stty cols 80 rows 24; {WHARFINGER} ls team/app-1 --data {}", registry.data().display());
    let shown = Command::new("script").args(["-qec", &line, "/dev/null"]).output().unwrap();
    let shown = text(&shown.stdout);
    assert!(shown.contains(&digest[..19]) && !shown.contains(&digest), "{shown}");
    assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 80), "{shown}");
    assert!(registry.says("ls team/app-1").contains(&digest));
}

#[test]
fn long_data_directory_path_is_accepted() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("d".repeat(120));
    let log = scratch.path().join("log");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let server = Daemon::start(WHARFINGER, &arguments, &log);
    server.address();
    let output = run(&["ls", "--data", data.to_str().unwrap()], Path::new("/"));
    assert!(success("ls", &output).starts_with("REPOSITORY"));
}

#[test]
fn check_names_damage_and_repairs_links() {
    let registry = Registry::at_rest();
    assert!(registry.says("check --read").contains("nothing missing"));
    let image = pusher::describe(1);
    let blob = |digest: &oci::Digest| {
        let hex = digest.hex();
        registry.data().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    };
    let link =
        registry.data().join("docker/registry/v2/repositories/team/app-1/_manifests/tags/v1/current/link");
    fs::remove_file(&link).unwrap();
    assert!(registry.says("check").contains("put in step"));
    assert_eq!(fs::read_to_string(&link).unwrap(), image.manifest.to_string());

    // The size is the same, so only reading shows the damage.
    let layer = blob(&image.blobs[1]);
    let mut content = fs::read(&layer).unwrap();
    content[0] ^= 1;
    fs::write(&layer, content).unwrap();
    assert!(registry.says("check").contains("nothing missing"));
    let damaged = registry.run("check --read");
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(&damaged.stdout).contains("is damaged"));
    fs::remove_file(blob(&image.blobs[0])).unwrap();
    let missing = registry.run("check --json");
    assert_eq!(missing.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&missing.stdout).unwrap();
    assert_eq!(report["faults"][0]["fault"], "is missing");
}

#[test]
fn inspect_of_a_damaged_manifest_says_so() {
    let registry = Registry::at_rest();
    let manifest = pusher::describe(1).manifest;
    let hex = manifest.hex();
    let file = registry.data().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    fs::write(file, "{}").unwrap();
    for image in ["team/app-1:v1".to_owned(), format!("team/app-1@{manifest}")] {
        let said = registry.refuses(&format!("inspect {image}"), 1);
        assert!(said.contains("missing or damaged") && said.contains("push"), "{said}");
    }
    assert!(registry.refuses("inspect team/app-1:absent", 1).contains("there is no image team/app-1:absent"));
}

#[test]
fn check_repair_moves_damage_aside() {
    let registry = Registry::at_rest();
    let image = pusher::describe(1);
    let hex = image.blobs[1].hex();
    let layer = registry.data().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    let mut content = fs::read(&layer).unwrap();
    content[0] ^= 1;
    fs::write(&layer, &content).unwrap();
    let repaired = registry.run("check --read --repair --json");
    assert_eq!(repaired.status.code(), Some(1), "an image is not complete");
    let report: Value = serde_json::from_slice(&repaired.stdout).unwrap();
    let fault = &report["faults"][0];
    assert_eq!((&fault["is_mended"], &fault["affected"][0]), (&false.into(), &"team/app-1:v1".into()));
    assert!(fault["advice"].as_str().unwrap().contains("push the affected images again"));
    let place = fault["repair"].as_str().unwrap().strip_prefix("moved to ").unwrap().to_owned();
    assert_eq!(fs::read(&place).unwrap(), content, "the bytes are kept");
    assert!(!layer.exists());
    let told = registry.run("check --repair");
    assert_eq!(told.status.code(), Some(1));
    let told = text(&told.stdout);
    assert!(told.contains("is missing") && told.contains("To do: push the affected images again"), "{told}");

    fs::create_dir_all(layer.parent().unwrap()).unwrap();
    content[0] ^= 1;
    fs::write(&layer, content).unwrap();
    assert!(registry.says("check --read").contains("nothing missing"));
}

#[test]
fn lost_database_is_rebuilt_from_links() {
    let registry = Registry::at_rest();
    let before = registry.says("ls team/app-1 --json");
    let digest = |json: &str| serde_json::from_str::<Value>(json).unwrap()[0]["digest"].clone();
    for file in fs::read_dir(registry.data().join("wharfinger")).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_str().unwrap().starts_with("metadata.db") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    assert_eq!(digest(&registry.says("ls team/app-1 --json")), digest(&before));
    assert!(registry.says("check --read").contains("nothing missing"));
}

#[test]
fn events_are_followed() {
    let registry = Registry::serving();
    let url = registry.url();
    let follow = ["events", "--follow", "--after", "0", "--json", "--server", &url];
    let mut command = Command::new(WHARFINGER);
    let mut program = command.args(follow).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(program.stdout.take().unwrap()));
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let push = events.find(|event| event["event"] == "push").expect("the push of before");
    assert_eq!(push["repository"], "team/app-1");
    registry.says("tag team/app-1:v1 team/app-1:v9");
    let moved = events.find(|event| event["event"] == "tag.moved" && event["tag"] == "v9");
    assert!(moved.is_some());
    program.kill().unwrap();
    program.wait().unwrap();
}

/// Clients that know no time write Go's zero time.
#[test]
fn inspect_calls_a_zero_time_unknown() {
    let registry = Registry::serving();
    let url = registry.url();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = reqwest::Client::new();
    for (tag, created, shown) in
        [("zero", "0001-01-01T00:00:00Z", "unknown"), ("new", "2026-11-20T08:12:00Z", "2026-11-20T08:12:00Z")]
    {
        let config = format!(r#"{{"architecture":"amd64","os":"linux","created":"{created}"}}"#);
        let digest = oci::Algorithm::Sha256.digest(config.as_bytes());
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest.to_string(), "size": config.len(),
            },
        });
        runtime.block_on(async {
            let upload = format!("{url}/v2/team/dated/blobs/uploads/?digest={digest}");
            let pushed = client.post(upload).body(config).send().await.unwrap();
            assert_eq!(pushed.status(), 201);
            let put = client.put(format!("{url}/v2/team/dated/manifests/{tag}"));
            let put = put.header("content-type", "application/vnd.oci.image.manifest.v1+json");
            assert_eq!(put.body(manifest.to_string()).send().await.unwrap().status(), 201);
        });
        let said = registry.says(&format!("inspect team/dated:{tag}"));
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix("created"));
        assert_eq!(line.expect("the line").trim(), shown, "{said}");
    }
}
