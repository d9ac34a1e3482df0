//! The commands, as a person types them: on a data directory, with and without a server that runs on it, and wrongly.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
#[path = "../clients/harness/daemon.rs"]
mod daemon;
#[path = "../durability/pusher.rs"]
#[allow(dead_code, reason = "the durability suite needs more of it")]
mod pusher;
mod signals;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use daemon::Daemon;
use serde_json::Value;
use tempfile::TempDir;

const WHARFINGER: &str = env!("CARGO_BIN_EXE_wharfinger");

/// A data directory with one image, and perhaps a server that runs on it.
struct Registry {
    scratch: TempDir,
    server: Option<(Daemon, String)>,
}

impl Registry {
    /// With a server running.
    fn serving() -> Registry {
        let scratch = TempDir::new().unwrap();
        let mut registry = Registry { scratch, server: None };
        registry.start();
        let url = registry.url();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(pusher::push_image(&reqwest::Client::new(), &url, 1)).unwrap();
        registry
    }

    /// With the same image, and no server.
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

    /// What a command prints that succeeds.
    fn says(&self, command: &str) -> String {
        success(command, &self.run(command))
    }

    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{command} --json"))).unwrap()
    }

    /// What a command prints on standard error that ends with this code.
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
fn an_image_is_listed_inspected_found_and_measured_with_and_without_a_server() {
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
fn a_running_server_is_reached_by_its_url_as_well() {
    let registry = Registry::serving();
    let url = registry.url();
    let output = run(&["ls", "--server", &url], Path::new("/"));
    assert!(success("ls --server", &output).contains("team/app-1"));
    let output = run(&["ls", "--server", "http://127.0.0.1:1"], Path::new("/"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not answer"));
    for wrong in ["localhost:5000", "ftp://localhost", "nonsense"] {
        assert_eq!(run(&["ls", "--server", wrong], Path::new("/")).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_tag_is_added_moved_and_removed_and_clients_see_it_at_once() {
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
fn mistakes_are_named_and_nothing_is_done() {
    let registry = Registry::at_rest();
    assert!(registry.refuses("rm team/app-1", 2).contains("--all"));
    assert!(registry.refuses("rm --all team/app-1", 2).contains("--yes"), "there is nobody to ask");
    assert!(registry.refuses("rm team/app-1:absent", 1).contains("there is no image"));
    assert!(registry.refuses("inspect team/app-1", 1).contains("team/app-1:latest"));
    assert!(registry.refuses("ls absent", 1).contains("there is no repository absent"));
    assert!(registry.refuses("tag team/app-1:v1 other", 2).contains("names no tag"));
    assert!(registry.refuses("ls Team/App", 2).contains("repository name"));
    assert!(registry.refuses("search absent", 1).contains("nothing matches"));
    assert_eq!(registry.json("ls team/app-1").as_array().unwrap().len(), 1, "the image is still there");
    let nowhere = run(&["ls", "--data", "absent"], registry.scratch.path());
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(!registry.scratch.path().join("absent").exists(), "a mistyped path makes no registry");
}

#[test]
fn a_second_server_is_kept_out_and_told_who_has_the_directory() {
    let registry = Registry::serving();
    let data = registry.data();
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()], Path::new("/"));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains(&format!("process {}", registry.server.as_ref().unwrap().0.pid())), "{told}");
    assert!(registry.refuses("check", 1).contains("in use"));
}

#[test]
fn a_long_path_to_the_data_directory_is_no_obstacle() {
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
fn check_names_what_is_missing_or_damaged_and_mends_links() {
    let registry = Registry::at_rest();
    assert!(registry.says("check --read").contains("all there"));
    let image = pusher::describe(1);
    let blob = |digest: &oci::Digest| {
        let hex = digest.hex();
        registry.data().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    };
    let link =
        registry.data().join("docker/registry/v2/repositories/team/app-1/_manifests/tags/v1/current/link");
    fs::remove_file(&link).unwrap();
    assert!(registry.says("check").contains("in step again"));
    assert_eq!(fs::read_to_string(&link).unwrap(), image.manifest.to_string());

    // The same size, so that only reading shows it.
    let layer = blob(&image.blobs[1]);
    let mut content = fs::read(&layer).unwrap();
    content[0] ^= 1;
    fs::write(&layer, content).unwrap();
    assert!(registry.says("check").contains("all there"));
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
fn a_lost_database_is_made_anew_from_the_directory() {
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
    assert!(registry.says("check --read").contains("all there"));
}
