//! Backup and restore: a full disk, kill -9 at any moment, and blobs that are older or newer than the backup.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::client;
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
    let client = client();
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
    assert!(runtime.block_on(pusher::fetch_image(&client(), &server.url(), &image)).unwrap());

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
    // In a directory, each backup has a name of its own. The next one removes what the killed ones have left.
    let directory = scratch.path().join("backups");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("wharfinger-20200104T000000Z.backup.partial"), b"a part").unwrap();
    for round in 0..KILLS {
        kill_after(&["backup", path(&directory), "--data", path(&data)], 4 * round);
    }
    success(&["backup", path(&directory), "--data", path(&data)]);
    assert!(files(&directory).iter().all(|name| name.ends_with(".backup")), "{:?}", files(&directory));
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
    server.stop();
    // An account of the time after the backup tells the two states apart. Links would bring images back.
    let added = wharfinger(&["user", "add", "ann", "--password-stdin", "--data", path(&data)])
        .stdin(fs::File::open(password(&scratch)).unwrap())
        .status();
    assert!(added.unwrap().success());
    let words = ["restore", path(&target), "--replace", "--data", path(&data)];
    let is_new = || !success(&["user", "list", "--json", "--data", path(&data)]).contains("ann");
    assert!(!is_new());
    let (mut killed, mut was_new) = (0, false);
    for round in 0..KILLS {
        killed += u64::from(kill_after(&words, 3 * round));
        let is_new = is_new();
        assert!(is_new || !was_new, "kill {round} brought the old state back");
        was_new = is_new;
    }
    assert!(killed > 0, "no restore was killed");
    success(&words);
    assert!(is_new());
    success(&["check", "--read", "--data", path(&data)]);
}

/// A file with a password.
fn password(scratch: &TempDir) -> std::path::PathBuf {
    let file = scratch.path().join("password");
    fs::write(&file, "a long password\n").unwrap();
    file
}

#[test]
fn restore_refuses_links_and_altered_blobs() {
    let scratch = TempDir::new().unwrap();
    let (data, backup) = (scratch.path().join("data"), scratch.path().join("backup"));
    let server = Server::start(&data, &[]);
    push(&server, 1..3);
    server.stop();
    success(&["backup", path(&backup), "--with-blobs", "--data", path(&data)]);
    // Both have the size that the metadata says.
    let of = |digest: &oci::Digest| {
        backup.join(format!("blobs/sha256/{}/{}/data", &digest.hex()[..2], digest.hex()))
    };
    let (first, second) = (pusher::describe(1), pusher::describe(2));
    let (linked, altered) = (of(&first.blobs[1]), of(&second.blobs[1]));
    let secret = scratch.path().join("secret");
    fs::write(&secret, vec![b's'; usize::try_from(fs::metadata(&linked).unwrap().len()).unwrap()]).unwrap();
    fs::remove_file(&linked).unwrap();
    std::os::unix::fs::symlink(&secret, &linked).unwrap();
    let size = usize::try_from(fs::metadata(&altered).unwrap().len()).unwrap();
    fs::remove_file(&altered).unwrap();
    fs::write(&altered, vec![0; size]).unwrap();

    let restored = scratch.path().join("restored");
    let told = success(&["restore", path(&backup), "--json", "--data", path(&restored)]);
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    let mut refused: Vec<String> = serde_json::from_value(report["refused"].clone()).unwrap();
    refused.sort();
    let mut expected = [path(&linked), path(&altered)];
    expected.sort_unstable();
    assert_eq!(refused, expected);
    assert_eq!(report["missing_blobs"], 2, "{report}");
    let server = Server::start(&restored, &[]);
    let runtime = Runtime::new().unwrap();
    let client = client();
    for image in [first, second] {
        let url = format!("{}/v2/{}/blobs/{}", server.url(), image.repository, image.blobs[1]);
        let status = runtime.block_on(async { client.get(url).send().await.unwrap().status() });
        assert!(!status.is_success(), "{status}");
    }
    server.stop();
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
    assert!(told.contains("1 blob missing") && told.contains("3 blobs extra"), "{told}");
}
