//! A full disk: 507, nothing partially stored, pulls go on, and pushes as well once there is room.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::client::client;
use crate::pusher;
use crate::random;
use crate::server::Server;

pub(crate) const MIB: usize = 1024 * 1024;

/// A small file system in memory.
pub(crate) struct SmallDisk {
    _scratch: TempDir,
    pub(crate) path: PathBuf,
}

impl SmallDisk {
    pub(crate) fn mount(mib: usize) -> SmallDisk {
        Self::mount_with(&format!("size={mib}m"))
    }

    fn mount_with(options: &str) -> SmallDisk {
        let scratch = TempDir::new().unwrap();
        let path = scratch.path().join("disk");
        fs::create_dir(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "this test mounts a tmpfs, which takes root");
        SmallDisk { _scratch: scratch, path }
    }

    pub(crate) fn free(&self) -> u64 {
        let df = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.path).output().unwrap();
        String::from_utf8_lossy(&df.stdout).lines().last().unwrap().trim().parse().unwrap()
    }

    /// Fills the file system to the last byte, again after some space came back.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.path.join("filler");
        let mut file = fs::File::options().create(true).append(true).open(&filler).unwrap();
        // Ends with "no space left", as intended.
        while file.write_all(&[0; 4096]).is_ok() {}
        filler
    }

    /// Creates files until no inode is free.
    fn fill_inodes(&self) {
        let directory = self.path.join("inodes");
        let _ = fs::create_dir(&directory);
        let first = fs::read_dir(&directory).unwrap().count();
        let mut names = (first..).map(|n| directory.join(n.to_string()));
        while fs::File::create_new(names.next().unwrap()).is_ok() {}
    }

    /// Writes a file of settings.
    fn settings(&self, text: &str) -> PathBuf {
        let path = self.path.join("wharfinger.toml");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[tokio::test]
async fn blob_beyond_free_space_is_507_and_leaves_nothing() {
    let disk = SmallDisk::mount(32);
    let server = Server::start(&disk.path.join("data"), &[]);
    let (http, url) = (client(), server.url());
    let image = pusher::push_image(&http, &url, 1).await.unwrap();
    let free = disk.free();

    for _ in 0..3 {
        let blob = random::content(99, 64 * MIB);
        let digest = oci::Algorithm::Sha256.digest(&blob);
        let answer =
            http.post(format!("{url}/v2/team/big/blobs/uploads/?digest={digest}")).body(blob).send().await;
        // A server may answer and close while the client sends. Then the client sees no answer.
        if let Ok(answer) = answer {
            assert_eq!(answer.status(), StatusCode::INSUFFICIENT_STORAGE);
            let body = answer.text().await.unwrap();
            assert!(body.contains("no space left"), "{body}");
        }
        assert!(pusher::fetch_image(&http, &url, &image).await.unwrap(), "pulls go on");
    }

    // The file is removed after the answer, and the database log may have grown.
    for _ in 0..100 {
        if disk.free() + MIB as u64 > free {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(disk.free() + MIB as u64 > free, "{} of {free} bytes are free again", disk.free());
    assert_eq!(upload_files(&disk.path), 0);
    let image = pusher::push_image(&http, &url, 2).await.unwrap();
    assert!(pusher::fetch_image(&http, &url, &image).await.unwrap());
    server.stop();
}

#[tokio::test]
async fn full_disk_refuses_every_step_until_freed() {
    let disk = SmallDisk::mount(16);
    let data = disk.path.join("data");
    let server = Server::start(&data, &[]);
    let (http, url) = (client(), server.url());
    let image = pusher::push_image(&http, &url, 1).await.unwrap();
    let filler = disk.fill();

    let mut refused = 0;
    for seed in 2..20 {
        // Small images may fit into the space of the database's log.
        let pushed = pusher::push_image(&http, &url, seed).await;
        let fetched = pusher::fetch_image(&http, &url, &pusher::describe(seed)).await.unwrap();
        assert_eq!(pushed.is_ok(), fetched, "{pushed:?}");
        if let Err(error) = pushed {
            assert!(error.starts_with("507"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 0, "a full disk refuses pushes");
    assert!(pusher::fetch_image(&http, &url, &image).await.unwrap(), "pulls go on");

    fs::remove_file(filler).unwrap();
    for seed in 2..20 {
        let image = pusher::push_image(&http, &url, seed).await.unwrap();
        assert!(pusher::fetch_image(&http, &url, &image).await.unwrap());
    }
    // A kill and a restart on the full directory: all acknowledged images are there.
    server.kill();
    let server = Server::start(&data, &[]);
    for seed in 1..20 {
        assert!(pusher::fetch_image(&http, &server.url(), &pusher::describe(seed)).await.unwrap());
    }
    server.stop();
}

#[tokio::test]
async fn deletion_works_with_no_byte_free() {
    let disk = SmallDisk::mount(16);
    let data = disk.path.join("data");
    let settings = disk.settings("[gc]\ngrace = 0\ninterval = 0\n");
    let arguments = ["--config", settings.to_str().unwrap()];
    let server = Server::start(&data, &arguments);
    let (http, url) = (client(), server.url());
    let mut images = Vec::new();
    for seed in 1..20 {
        images.push(pusher::push_image(&http, &url, seed).await.unwrap());
    }
    let ballast = data.join("wharfinger/metadata.db.ballast");
    let has_ballast = || fs::metadata(&ballast).is_ok_and(|file| file.len() == MIB as u64);
    eventually("the ballast is there", has_ballast).await;
    disk.fill();
    let refused = pusher::push_image(&http, &url, 99).await.unwrap_err();
    assert!(refused.starts_with("507"), "{refused}");
    assert_eq!(disk.free(), 0);
    let (kept, doomed): (Vec<_>, Vec<_>) =
        images.into_iter().partition(|image| image.repository == pusher::describe(1).repository);
    for image in &doomed {
        for target in [image.tag.clone(), image.manifest.to_string()] {
            let path = format!("{url}/v2/{}/manifests/{target}", image.repository);
            let answer = http.delete(path).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", answer.text().await.unwrap());
        }
        assert!(!pusher::fetch_image(&http, &url, image).await.unwrap());
        // Nothing of the space that comes back stays free.
        disk.fill();
    }
    let repositories: std::collections::BTreeSet<_> = doomed.iter().map(|image| &image.repository).collect();
    for repository in repositories {
        let answer = http.delete(format!("{url}/api/v1/repositories/{repository}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", answer.text().await.unwrap());
    }
    assert!(pusher::fetch_image(&http, &url, &kept[0]).await.unwrap(), "pulls go on");
    disk.fill();
    server.kill();

    // A restart and a collection with no byte free.
    let server = Server::start(&data, &arguments);
    let url = server.url();
    assert!(pusher::fetch_image(&http, &url, &kept[0]).await.unwrap());
    assert!(!pusher::fetch_image(&http, &url, &doomed[0]).await.unwrap());
    let collected = http.post(format!("{url}/api/v1/gc")).send().await.unwrap().text().await.unwrap();
    assert!(collected.contains("report"), "{collected}");
    // The database log has grown, and shrinks at its next checkpoint.
    eventually("the space of the images is free", || disk.free() > MIB as u64 / 2).await;
    pusher::push_image(&http, &url, 99).await.unwrap();
    assert!(pusher::fetch_image(&http, &url, &kept[0]).await.unwrap());
    server.kill();
    // A start fills the ballast, as a running server does once a minute.
    fs::remove_file(disk.path.join("filler")).unwrap();
    let server = Server::start(&data, &arguments);
    eventually("the ballast is there again", has_ballast).await;
    server.stop();
}

#[tokio::test]
async fn exhausted_inodes_stop_no_pull_or_deletion() {
    let disk = SmallDisk::mount_with("size=16m,nr_inodes=400");
    let data = disk.path.join("data");
    let settings = disk.settings("[gc]\ngrace = 0\ninterval = 0\n");
    let arguments = ["--config", settings.to_str().unwrap()];
    let server = Server::start(&data, &arguments);
    let (http, url) = (client(), server.url());
    let image = pusher::push_image(&http, &url, 1).await.unwrap();
    let doomed = pusher::push_image(&http, &url, 2).await.unwrap();
    disk.fill_inodes();
    let refused = pusher::push_image(&http, &url, 5).await.unwrap_err();
    assert!(refused.starts_with("507"), "{refused}");
    assert!(pusher::fetch_image(&http, &url, &image).await.unwrap(), "pulls go on");
    server.kill();

    disk.fill_inodes();
    let server = Server::start(&data, &arguments);
    let url = server.url();
    assert!(pusher::fetch_image(&http, &url, &image).await.unwrap(), "pulls go on after a restart");
    let path = format!("{url}/v2/{}/manifests/{}", doomed.repository, doomed.manifest);
    assert_eq!(http.delete(path).send().await.unwrap().status(), StatusCode::ACCEPTED);
    let collected = http.post(format!("{url}/api/v1/gc")).send().await.unwrap().text().await.unwrap();
    assert!(collected.contains("report"), "{collected}");
    fs::remove_dir_all(disk.path.join("inodes")).unwrap();
    pusher::push_image(&http, &url, 5).await.unwrap();
    assert!(pusher::fetch_image(&http, &url, &image).await.unwrap());
    server.stop();
}

#[tokio::test]
async fn reserve_refuses_before_the_disk_is_full() {
    let disk = SmallDisk::mount(32);
    let settings = disk.path.join("wharfinger.toml");
    fs::write(&settings, "[storage]\nreserve = \"8MiB\"\n").unwrap();
    let server = Server::start(&disk.path.join("data"), &["--config", settings.to_str().unwrap()]);
    let (http, url) = (client(), server.url());
    let image = pusher::push_image(&http, &url, 1).await.unwrap();

    let readiness = async || http.get(format!("{url}/readyz")).send().await.unwrap().text().await.unwrap();
    assert_eq!(readiness().await, "ready\n");
    let filler = disk.path.join("filler");
    fs::write(&filler, vec![0; usize::try_from(disk.free()).unwrap() - 4 * MIB]).unwrap();
    // The free space is cached for 100 ms.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let degraded = readiness().await;
    assert!(degraded.starts_with("ready\ndegraded: only "), "{degraded}");
    assert!(degraded.contains("keeps back 8.0 MiB (storage.reserve)"), "{degraded}");
    fs::remove_file(filler).unwrap();
    assert_eq!(readiness().await, "ready\n");

    for seed in 0..8 {
        let blob = random::content(100 + seed, 8 * MIB);
        let digest = oci::Algorithm::Sha256.digest(&blob);
        let answer =
            http.post(format!("{url}/v2/team/big/blobs/uploads/?digest={digest}")).body(blob).send().await;
        if let Ok(answer) = answer
            && answer.status() != StatusCode::CREATED
        {
            assert_eq!(answer.status(), StatusCode::INSUFFICIENT_STORAGE);
            assert!(answer.text().await.unwrap().contains("storage.reserve"));
        }
    }
    // The log of the database and the ballast have grown since the last upload.
    assert!(disk.free() >= 6 * MIB as u64, "{} bytes are free", disk.free());
    assert!(pusher::fetch_image(&http, &url, &image).await.unwrap(), "pulls go on");
    server.stop();
}

#[tokio::test]
async fn check_works_with_no_byte_free() {
    let disk = SmallDisk::mount(16);
    let data = disk.path.join("data");
    let server = Server::start(&data, &[]);
    let (http, url) = (client(), server.url());
    let ballast = data.join("wharfinger/metadata.db.ballast");
    eventually("the ballast is there", || fs::metadata(&ballast).is_ok_and(|file| file.len() == MIB as u64))
        .await;
    for seed in 1..6 {
        pusher::push_image(&http, &url, seed).await.unwrap();
    }
    // Journaled content and new links have not been written yet.
    for pause in [0, 8] {
        tokio::time::sleep(std::time::Duration::from_secs(pause)).await;
        disk.fill();
        for options in [&[][..], &["--read"], &["--read"]] {
            let mut check = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
            let checked = check.arg("check").args(options).arg("--data").arg(&data).output().unwrap();
            assert!(checked.status.success(), "{options:?} after {pause} s: {checked:?}");
            disk.fill();
        }
    }
    server.stop();
}

fn upload_files(disk: &Path) -> usize {
    fs::read_dir(disk.join("data/wharfinger/uploads")).unwrap().count()
}

/// Polls a condition until it holds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("in 30 s never: {what}");
}
