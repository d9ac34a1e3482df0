//! Backup and restore: a full disk, kill -9 at any moment, and blobs that are older or newer than the backup.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use reqwest::Client;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::full_disk::SmallDisk;
use crate::pusher;
use crate::server::Server;

/// Kills of each command.
const KILLS: u64 = 25;

fn wharfinger(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.args(words).current_dir("/").stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    wharfinger(words).output().unwrap()
}

fn success(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn push(server: &Server, seeds: std::ops::Range<u64>) {
    let runtime = Runtime::new().unwrap();
    let client = Client::new();
    for seed in seeds {
        runtime.block_on(pusher::push_image(&client, &server.url(), seed)).unwrap();
    }
}

/// Starts a command, and kills it after some milliseconds if it has not ended. Returns whether it was killed.
fn kill_after(words: &[&str], milliseconds: u64) -> bool {
    let mut child = wharfinger(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(milliseconds));
    // It may have ended.
    let _ = child.kill();
    !child.wait().unwrap().success()
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn backup_without_room_fails_and_leaves_nothing() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let server = Server::start(&data, &[]);
    push(&server, 1..3);
    let disk = SmallDisk::mount(1);
    let filler = disk.fill();
    let target = disk.path.join("registry.backup");
    let failed = run(&["backup", path(&target), "--data", path(&data)]);
    let told = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{told}");
    assert!(told.contains(path(&disk.path)) && told.contains("No space left"), "{told}");
    assert_eq!(files(&disk.path), ["filler"], "nothing passes for a backup");

    fs::remove_file(filler).unwrap();
    push(&server, 3..4);
    let target = scratch.path().join("registry.backup");
    success(&["backup", path(&target), "--data", path(&data)]);
    server.stop();
}

#[test]
fn backup_of_a_full_disk_names_it_and_serves_on() {
    let disk = SmallDisk::mount(16);
    let data = disk.path.join("data");
    let server = Server::start(&data, &[]);
    push(&server, 1..3);
    let filler = disk.fill();
    let scratch = TempDir::new().unwrap();
    let target = scratch.path().join("registry.backup");
    let failed = run(&["backup", path(&target), "--data", path(&data)]);
    let told = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{told}");
    assert!(told.contains("no space left on the registry's disk"), "{told}");
    assert_eq!(files(scratch.path()), [""; 0]);
    let runtime = Runtime::new().unwrap();
    let image = pusher::describe(1);
    assert!(runtime.block_on(pusher::fetch_image(&Client::new(), &server.url(), &image)).unwrap());

    fs::remove_file(filler).unwrap();
    success(&["backup", path(&target), "--data", path(&data)]);
    server.stop();
}

#[test]
fn killed_backup_passes_for_no_backup() {
    let scratch = TempDir::new().unwrap();
    let (data, target) = (scratch.path().join("data"), scratch.path().join("registry.backup"));
    let server = Server::start(&data, &[]);
    push(&server, 1..20);
    let words = ["backup", path(&target), "--data", path(&data)];
    let mut killed = 0;
    for round in 0..KILLS {
        killed += u64::from(kill_after(&words, 4 * round));
        if target.exists() {
            let restored = scratch.path().join(format!("restored-{round}"));
            success(&["restore", path(&target), "--data", path(&restored)]);
            fs::remove_file(&target).unwrap();
        }
    }
    assert!(killed > 0, "no backup was killed");
    push(&server, 20..21);
    success(&words);
    assert!(!files(&data.join("wharfinger")).iter().any(|name| name.starts_with("snapshot")));
    server.stop();
}

#[test]
fn killed_restore_leaves_old_or_new_registry() {
    let scratch = TempDir::new().unwrap();
    let (data, target) = (scratch.path().join("data"), scratch.path().join("registry.backup"));
    let server = Server::start(&data, &[]);
    push(&server, 1..5);
    success(&["backup", path(&target), "--data", path(&data)]);
    push(&server, 5..7);
    server.stop();
    let words = ["restore", path(&target), "--replace", "--data", path(&data)];
    let repositories = || success(&["ls", "--json", "--data", path(&data)]).matches("team/app-").count();
    assert_eq!(repositories(), 6);
    let (mut killed, mut is_restored) = (0, false);
    for round in 0..KILLS {
        killed += u64::from(kill_after(&words, 3 * round));
        let found = repositories();
        // Once restored, it stays so: a killed repetition changes nothing either.
        assert!(found == 4 || (found == 6 && !is_restored), "{found} repositories after kill {round}");
        is_restored = found == 4;
    }
    assert!(killed > 0, "no restore was killed");
    success(&words);
    assert_eq!(repositories(), 4);
    success(&["check", "--read", "--data", path(&data)]);
}

#[test]
fn restore_reports_older_and_newer_blobs() {
    let scratch = TempDir::new().unwrap();
    let (data, target) = (scratch.path().join("data"), scratch.path().join("registry.backup"));
    let server = Server::start(&data, &[]);
    push(&server, 1..3);
    server.stop();
    success(&["backup", path(&target), "--data", path(&data)]);
    // One image is newer than the backup, and a blob of an older one is gone.
    let server = Server::start(&data, &[]);
    push(&server, 3..4);
    server.stop();
    let lost = pusher::describe(1).blobs[1];
    let file = data.join(format!("docker/registry/v2/blobs/sha256/{}/{}/data", &lost.hex()[..2], lost.hex()));
    fs::remove_file(file).unwrap();

    let told = success(&["restore", path(&target), "--replace", "--json", "--data", path(&data)]);
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["missing"], serde_json::json!([lost.to_string()]), "{report}");
    let newer = pusher::describe(3);
    let extra: Vec<String> = serde_json::from_value(report["extra"].clone()).unwrap();
    assert_eq!(extra.len(), 3, "a config, a layer and a manifest: {report}");
    assert!(extra.contains(&newer.manifest.to_string()), "{report}");
    let told = success(&["restore", path(&target), "--replace", "--data", path(&data)]);
    assert!(told.contains("1 blobs are missing") && told.contains("3 blobs are extra"), "{told}");
}
