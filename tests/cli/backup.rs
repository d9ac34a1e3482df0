//! `backup` and `restore`, with and without a running server, and by a schedule.

use std::fs;
use std::path::Path;
use std::process::Output;

use super::{Registry, WHARFINGER, pusher, run, success, text};
use crate::daemon::Daemon;

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn restore(backup: &Path, data: &Path, flags: &[&str]) -> Output {
    run(&[&["restore", path(backup), "--data", path(data)], flags].concat(), Path::new("/"))
}

fn push(registry: &Registry, number: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(pusher::push_image(&reqwest::Client::new(), &registry.url(), number)).unwrap();
}

fn ls(data: &Path) -> String {
    success("ls", &run(&["ls", "--data", path(data)], Path::new("/")))
}

#[test]
fn backup_is_restored_where_no_metadata_is() {
    for mut registry in [Registry::serving(), Registry::at_rest()] {
        let backup = registry.scratch.path().join("registry.backup");
        let told = registry.says(&format!("backup {}", path(&backup)));
        assert!(told.starts_with(path(&backup)), "{told}");
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o077, 0);
        let is_fresh = registry.server.is_some();
        if is_fresh {
            push(&registry, 2);
            // Both ends are killed: the server now, and the restored one below.
            registry.server.take().unwrap().0.kill();
        }
        let refused = restore(&backup, &registry.data(), &[]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("--replace"), "{}", text(&refused.stderr));

        let told = success("restore", &restore(&backup, &registry.data(), &["--replace", "--json"]));
        let report: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&report["repositories"], &report["missing_blobs"]), (&1.into(), &0.into()));
        registry.start();
        assert!(registry.says("ls").contains("team/app-1"));
        registry.server.take().unwrap().0.kill();
        // It fails if content is missing.
        registry.says("check --read");

        // Onto a machine without the blobs: everything is known, and named as missing.
        let other = registry.scratch.path().join("other");
        let told = success("restore", &restore(&backup, &other, &[]));
        // Those of a fresh push are in the journal, which is in the backup.
        assert!(is_fresh || told.contains(" missing, "), "{told}");
        assert!(ls(&other).contains("team/app-1"));
        assert!(ls(&other).contains("team/app-1"), "the missing links do not count as deletions");
        // Copied afterwards, they are complete.
        let copied = std::process::Command::new("cp")
            .args(["-a", "-T", path(&registry.data().join("docker/registry/v2/blobs"))])
            .arg(other.join("docker/registry/v2/blobs"))
            .status();
        assert!(copied.unwrap().success());
        success("check", &run(&["check", "--read", "--data", path(&other)], Path::new("/")));
    }
}

#[test]
fn backup_with_blobs_is_incremental_and_complete() {
    // Small blobs are in the journal first, which is in the metadata. A stop writes their files.
    let mut registry = Registry::at_rest();
    registry.start();
    let backup = registry.scratch.path().join("backup");
    let made = registry.json(&format!("backup {} --with-blobs", path(&backup)));
    let first = made["blobs"]["copied"].as_u64().unwrap();
    assert!(first >= 3, "{made}");
    push(&registry, 2);
    registry.server.take().unwrap().0.stop();
    let made = registry.json(&format!("backup {} --with-blobs", path(&backup)));
    assert_eq!(made["blobs"]["present"].as_u64(), Some(first), "{made}");
    assert!(made["blobs"]["copied"].as_u64().unwrap() >= 3, "{made}");
    let other = registry.scratch.path().join("other");
    let told = success("restore", &restore(&backup, &other, &[]));
    assert!(told.contains("copied") && !told.contains("missing"), "{told}");
    let checked = success("check", &run(&["check", "--read", "--data", path(&other)], Path::new("/")));
    assert!(checked.starts_with("2 repositories"), "{checked}");
}

#[test]
fn backup_and_restore_mistakes_are_named() {
    let registry = Registry::serving();
    let data = registry.data();
    let by_url = run(&["backup", "/tmp/x.backup", "--server", &registry.url()], Path::new("/"));
    assert_eq!(by_url.status.code(), Some(2));
    assert!(text(&by_url.stderr).contains("--data"));
    let nowhere = registry.refuses("backup /nonexistent/registry.backup", 1);
    assert!(nowhere.contains("cannot write /nonexistent/registry.backup"), "{nowhere}");
    assert_eq!(restore(Path::new("/nonexistent"), &data, &["--replace"]).status.code(), Some(1));
    let backup = registry.scratch.path().join("registry.backup");
    registry.says(&format!("backup {}", path(&backup)));
    let running = restore(&backup, &data, &["--replace"]);
    assert_eq!(running.status.code(), Some(1));
    assert!(text(&running.stderr).contains("in use by process"), "{}", text(&running.stderr));
    let whole = fs::read(&backup).unwrap();
    let mut altered = whole.clone();
    let last = altered.len() - 700;
    altered[last..last + 3].copy_from_slice(b"\x1b[2");
    for wrong in [&b"rubbish\x1b[2J"[..], &whole[..whole.len() - 1000], &whole[..whole.len() / 2], &altered] {
        fs::write(&backup, wrong).unwrap();
        let refused = restore(&backup, &registry.scratch.path().join("new"), &[]);
        let told = text(&refused.stderr);
        assert!(told.contains("not a complete backup") && !told.contains('\x1b'), "{told}");
        assert!(!registry.scratch.path().join("new").exists());
    }
    let empty = registry.scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let refused = restore(&empty, &data, &["--replace"]);
    assert!(text(&refused.stderr).contains("there is no backup in"), "{}", text(&refused.stderr));
}

#[test]
fn accounts_and_tokens_survive_a_restore() {
    let scratch = tempfile::TempDir::new().unwrap();
    let (data, other) = (scratch.path().join("data"), scratch.path().join("other"));
    let (password, backup) = (scratch.path().join("password"), scratch.path().join("registry.backup"));
    fs::write(&password, "a long password\n").unwrap();
    let serve = |data: &Path, flags: &[&str]| {
        let words = [&["serve", "--listen", "127.0.0.1:0", "--data", path(data)], flags].concat();
        Daemon::start(WHARFINGER, &words, &scratch.path().join("log"))
    };
    let status = |daemon: &Daemon, user: &str| {
        let url = format!("http://{}/v2/", daemon.address());
        let asked = std::process::Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", user, &url])
            .output()
            .unwrap();
        text(&asked.stdout)
    };
    let mut first = serve(&data, &["--admin", "ann", "--admin-password-file", path(&password)]);
    assert_eq!(status(&first, "ann:a long password"), "200");
    success("backup", &run(&["backup", path(&backup), "--data", path(&data)], Path::new("/")));
    first.kill();
    success("restore", &restore(&backup, &other, &[]));
    let mut second = serve(&other, &[]);
    assert_eq!(status(&second, "ann:a long password"), "200");
    assert_eq!(status(&second, "ann:wrong"), "401");
    second.kill();
    // A lost password needs one command on the machine.
    let set = std::process::Command::new(WHARFINGER)
        .args(["user", "password", "ann", "--password-stdin", "--data", path(&other)])
        .stdin(
            fs::File::open({
                fs::write(&password, "another long password\n").unwrap();
                &password
            })
            .unwrap(),
        )
        .output()
        .unwrap();
    success("user password", &set);
    let third = serve(&other, &[]);
    assert_eq!(status(&third, "ann:another long password"), "200");
}

#[test]
fn scheduled_backups_are_made_and_limited() {
    let registry = Registry::at_rest();
    let backups = registry.scratch.path().join("backups");
    fs::create_dir(&backups).unwrap();
    for old in ["20200101T000000Z", "20200102T000000Z", "20200103T000000Z"] {
        let file = backups.join(format!("wharfinger-{old}.backup"));
        fs::write(&file, "old").unwrap();
        let aged = std::process::Command::new("touch").args(["-d", "2020-01-03", path(&file)]).status();
        assert!(aged.unwrap().success());
    }
    // A killed process has left it.
    fs::write(backups.join("wharfinger-20200104T000000Z.backup.partial"), "half").unwrap();
    let config = registry.scratch.path().join("wharfinger.toml");
    let settings =
        format!("[backup]\ndirectory = \"{}\"\nschedule = \"0 3 * * *\"\nkeep = 2\n", path(&backups));
    fs::write(&config, settings).unwrap();
    let log = registry.scratch.path().join("log");
    let data = registry.data();
    let words = ["serve", "--listen", "127.0.0.1:0", "--data", path(&data), "--config", path(&config)];
    let daemon = Daemon::start(WHARFINGER, &words, &log);
    daemon.wait_for(|log| log.contains("made a backup").then_some(()));
    drop(daemon);
    let mut names: Vec<_> = fs::read_dir(&backups)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0], "wharfinger-20200103T000000Z.backup");
    let other = registry.scratch.path().join("other");
    success("restore", &restore(&backups, &other, &[]));
    assert!(ls(&other).contains("team/app-1"));
    let kept = fs::read_to_string(other.join("wharfinger/restored-configuration/wharfinger.toml")).unwrap();
    assert!(kept.contains("keep = 2"), "{kept}");
}
