//! Changes to the data directory by other programs (docs/reference/data-directory.md).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::{Registry, WHARFINGER, pusher, run, success, text};

/// The user `nobody`, whom the tests do not use otherwise.
const USER: u32 = 65_534;

fn repositories(registry: &Registry) -> std::path::PathBuf {
    registry.data().join("docker/registry/v2/repositories")
}

/// Returns a directory and everything below it.
fn all_below(path: &Path, found: &mut Vec<std::path::PathBuf>) {
    found.push(path.to_owned());
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            all_below(&entry.unwrap().path(), found);
        }
    }
}

fn give(path: &Path, user: u32) {
    let mut all = Vec::new();
    all_below(path, &mut all);
    all.iter().for_each(|path| chown(path, Some(user), Some(user)).unwrap());
}

/// Writes a manifest and its tag into the directory, as `registry:2` does.
fn put(registry: &Registry, repository: &str, tag: &str, content: &str) -> String {
    let digest = oci::Algorithm::Sha256.digest(content.as_bytes());
    let hex = digest.hex();
    let blob = registry.data().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}", &hex[..2]));
    let base = repositories(registry).join(repository).join("_manifests");
    let revision = base.join("revisions/sha256").join(&hex);
    let current = base.join("tags").join(tag).join("current");
    [&blob, &revision, &current].iter().for_each(|path| fs::create_dir_all(path).unwrap());
    fs::write(blob.join("data"), content).unwrap();
    fs::write(revision.join("link"), digest.to_string()).unwrap();
    fs::write(current.join("link"), digest.to_string()).unwrap();
    digest.to_string()
}

fn add_user(registry: &Registry) {
    let line = format!(
        "echo 'correct horse battery staple' | {WHARFINGER} user add ann --admin --password-stdin --data {}",
        registry.data().display()
    );
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
}

const EMPTY_INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

#[test]
fn adopt_imports_changes_and_keeps_accounts() {
    let mut registry = Registry::at_rest();
    add_user(&registry);
    registry.start();
    let digest = put(&registry, "team/new", "1", EMPTY_INDEX);
    let adopted = registry.json("adopt");
    assert_eq!(adopted["changes"][0]["repository"], "team/new");
    assert_eq!(adopted["problems"], Value::Array(vec![]));
    assert_eq!(registry.json("ls team/new")[0]["digest"], digest);
    assert!(registry.says("user list").contains("ann"));
    assert!(registry.says("adopt").contains("0 changes"));
}

#[test]
fn start_adopts_images_copied_in_meanwhile() {
    let registry = Registry::at_rest();
    let digest = put(&registry, "team/app-1", "2", EMPTY_INDEX);
    let image = pusher::describe(1);
    let current = repositories(&registry).join("team/app-1/_manifests/tags/v1/current/link");
    fs::write(&current, &digest).unwrap();
    assert_eq!(registry.json("ls team/app-1")[0]["digest"], digest, "one by its directory");
    assert_eq!(registry.json("inspect team/app-1:v1")["digest"], digest, "and then all links are read");
    registry.says("check");
    assert_eq!(fs::read_to_string(&current).unwrap(), digest, "nothing is reverted");
    assert_ne!(digest, image.manifest.to_string());
}

#[test]
fn command_on_moved_content_creates_nothing() {
    let registry = Registry::at_rest();
    for part in ["docker", "docker/registry/v2/blobs"] {
        let (part, away) = (registry.data().join(part), registry.data().join("away"));
        fs::rename(&part, &away).unwrap();
        let refused = registry.run("ls");
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(said.contains("/docker/registry/v2/blobs is missing, but"), "{said}");
        assert!(said.contains("was it moved away"), "{said}");
        assert!(!part.exists(), "nothing is created in its place");
        fs::rename(&away, &part).unwrap();
    }
    assert!(registry.says("check").contains("nothing missing"));
}

#[test]
fn moved_data_directory_serves_the_same() {
    let registry = Registry::at_rest();
    let (old, moved) = (registry.data(), registry.scratch.path().join("moved"));
    // The two ways of `docs/how-to/backup.md`: a copy, as to another disk, and a rename.
    let copied = Command::new("cp").args(["--archive", "-T"]).args([&old, &moved]).status();
    assert!(copied.unwrap().success());
    let renamed = registry.scratch.path().join("renamed");
    fs::rename(&old, &renamed).unwrap();
    for data in [moved, renamed] {
        let data = data.to_str().unwrap();
        let checked = success("check", &run(&["check", "--read", "--data", data], Path::new("/")));
        assert!(checked.contains("nothing missing"), "{checked}");
        let words = ["serve", "--listen", "127.0.0.1:0", "--data", data];
        let daemon = Daemon::start(WHARFINGER, &words, &registry.scratch.path().join("log"));
        let url = format!("http://{}", daemon.address());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let http = reqwest::Client::new();
        assert!(runtime.block_on(pusher::fetch_image(&http, &url, &pusher::describe(1))).unwrap());
        runtime.block_on(pusher::push_image(&http, &url, 2)).unwrap();
    }
}

#[test]
fn check_reports_and_keeps_unknown_files() {
    let registry = Registry::at_rest();
    put(&registry, "team/app-1", "odd", "<html>");
    let link = repositories(&registry).join("team/app-1/_manifests/tags/odd/current/link");
    let checked = registry.run("check --json");
    assert_eq!(checked.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["not_adopted"].as_array().unwrap().len(), 2, "{report}");
    assert!(link.exists());
    let said = text(&registry.run("ls").stderr);
    assert!(said.contains("adoption is incomplete") || said.is_empty(), "{said}");
    let refused = registry.run("rm --all --yes team/app-1");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("could not be adopted"), "{}", text(&refused.stderr));
    assert_eq!(registry.json("ls team/app-1")[0]["tag"], "v1", "nothing was deleted");
    registry.says("rm --yes team/app-1:v1");
    assert!(link.exists(), "the image that was not adopted keeps its tag");
    assert!(!link.ancestors().nth(3).unwrap().join("v1").exists());
    fs::remove_dir_all(repositories(&registry).join("team")).unwrap();
    registry.says("check");
}

#[test]
fn commands_run_by_root_leave_no_root_files() {
    let registry = Registry::at_rest();
    fs::set_permissions(registry.scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    give(&registry.data(), USER);
    registry.says("tag team/app-1:v1 new/app:1");
    add_user(&registry);
    let mut all = Vec::new();
    all_below(&registry.data(), &mut all);
    for path in all {
        assert_eq!(fs::metadata(&path).unwrap().uid(), USER, "{}", path.display());
    }
}

#[test]
fn unwritable_repository_is_reported_others_continue() {
    let registry = Registry::at_rest();
    fs::set_permissions(registry.scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    registry.says("tag team/app-1:v1 other/app:1");
    give(&registry.data(), USER);
    let theirs = repositories(&registry).join("team/app-1");
    give(&theirs, 0);
    let run = |command: &str| {
        let user = USER.to_string();
        let words = ["--reuid", &user, "--regid", &user, "--clear-groups", WHARFINGER];
        let data = registry.data();
        Command::new("setpriv")
            .args(words)
            .args(command.split(' '))
            .args(["--data", data.to_str().unwrap()])
            .output()
            .unwrap()
    };
    for tag in ["team/app-1:v1 team/app-1:new", "other/app:1 other/app:new"] {
        let output = run(&format!("tag {tag}"));
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    assert!(repositories(&registry).join("other/app/_manifests/tags/new/current/link").exists());
    let link = theirs.join("_manifests/tags/new/current/link");
    assert!(!link.exists());
    let checked = run("check");
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("team/app-1"), "{}", text(&checked.stdout));
    assert!(text(&checked.stdout).contains("chown -R"));
    give(&theirs, USER);
    assert!(run("check").status.success());
    assert!(link.exists());
}

#[test]
fn removed_links_delete_no_image() {
    let registry = Registry::at_rest();
    let links = repositories(&registry);
    fs::remove_dir_all(links.join("team")).unwrap();
    assert_eq!(registry.json("ls team/app-1")[0]["tag"], "v1");
    assert!(registry.says("check").contains("was put in step"));
    fs::remove_dir_all(links.join("team/app-1/_manifests/tags/v1")).unwrap();
    assert_eq!(
        registry.json("ls team/app-1"),
        Value::Array(vec![]),
        "the tag was removed, and not its image"
    );
    let digest = pusher::describe(1).manifest;
    assert_eq!(registry.json(&format!("inspect team/app-1@{digest}"))["digest"], digest.to_string());
}

#[test]
fn restored_snapshot_is_served_as_it_was() {
    let registry = Registry::at_rest();
    let snapshot = registry.scratch.path().join("snapshot");
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    let tags = || -> Vec<String> {
        let listed = registry.json("ls team/app-1");
        listed.as_array().unwrap().iter().map(|row| row["tag"].as_str().unwrap().to_owned()).collect()
    };
    registry.says("check");
    copy(&registry.data(), &snapshot);

    registry.says("tag team/app-1:v1 team/app-1:v2");
    assert_eq!(tags(), ["v1", "v2"]);
    fs::remove_dir_all(registry.data()).unwrap();
    copy(&snapshot, &registry.data());
    assert_eq!(tags(), ["v1"], "a whole snapshot is served as it was");
    assert!(registry.says("check").contains("nothing missing"));

    // Links of another time than the database.
    let newer = put(&registry, "team/app-1", "v3", EMPTY_INDEX);
    registry.says("tag team/app-1:v1 team/app-1:v2");
    registry.says("check");
    assert_eq!(tags(), ["v1", "v2", "v3"]);
    fs::remove_dir_all(repositories(&registry)).unwrap();
    copy(&snapshot.join("docker/registry/v2/repositories"), &repositories(&registry));
    assert_eq!(tags(), ["v1", "v2", "v3"], "tags that older links lack are kept");
    let kept = registry.json(&format!("inspect team/app-1@{newer}"));
    assert_eq!(kept["digest"], newer, "an image that the database alone knows is kept");
    assert!(registry.says("check").contains("nothing missing"));
}

#[test]
fn closed_working_directory_has_no_settings() {
    let scratch = tempfile::TempDir::new().unwrap();
    let closed = scratch.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("wharfinger.toml"), "listen = 7\n").unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let (user, settings) = (USER.to_string(), ["config", "check", "--json"]);
    let checked = Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", WHARFINGER])
        .args(settings)
        .env("WHARFINGER_DATA", scratch.path().join("data"))
        .current_dir(&closed)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
    // For root it is the file of the working directory.
    let refused = run(&settings, &closed);
    let report: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(report["errors"], report["mistakes"], "{report}");
    assert_eq!(report["errors"].as_array().map(Vec::len), Some(1), "{report}");
}
