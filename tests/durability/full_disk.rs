//! A full disk: 507, nothing partially stored, pulls go on, and pushes as well once there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Client, StatusCode};
use tempfile::TempDir;

use crate::pusher;
use crate::server::Server;

pub(crate) const MIB: usize = 1024 * 1024;

/// A small file system in memory.
pub(crate) struct SmallDisk {
    _scratch: TempDir,
    pub(crate) path: PathBuf,
}

impl SmallDisk {
    pub(crate) fn mount(mib: usize) -> SmallDisk {
        let scratch = TempDir::new().unwrap();
        let path = scratch.path().join("disk");
        fs::create_dir(&path).unwrap();
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "this test mounts a tmpfs, which takes root");
        SmallDisk { _scratch: scratch, path }
    }

    pub(crate) fn free(&self) -> u64 {
        let df = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.path).output().unwrap();
        String::from_utf8_lossy(&df.stdout).lines().last().unwrap().trim().parse().unwrap()
    }

    /// Fills the file system.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.path.join("filler");
        // Ends with "no space left", as intended.
        let _ = Command::new("dd")
            .args(["if=/dev/zero", "bs=4096", "status=none"])
            .arg(format!("of={}", filler.display()))
            .output()
            .unwrap();
        filler
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
    let (http, url) = (Client::new(), server.url());
    let image = pusher::push_image(&http, &url, 1).await.unwrap();
    let free = disk.free();

    for _ in 0..3 {
        let blob = pusher::content(99, 64 * MIB);
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
    let (http, url) = (Client::new(), server.url());
    let image = pusher::push_image(&http, &url, 1).await.unwrap();
    let filler = disk.fill();

    for seed in 2..20 {
        let refused = pusher::push_image(&http, &url, seed).await.unwrap_err();
        assert!(refused.starts_with("507"), "{refused}");
        assert!(!pusher::fetch_image(&http, &url, &pusher::describe(seed)).await.unwrap());
    }
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
async fn reserve_refuses_before_the_disk_is_full() {
    let disk = SmallDisk::mount(32);
    let settings = disk.path.join("wharfinger.toml");
    fs::write(&settings, "[storage]\nreserve = \"8MiB\"\n").unwrap();
    let server = Server::start(&disk.path.join("data"), &["--config", settings.to_str().unwrap()]);
    let (http, url) = (Client::new(), server.url());
    let image = pusher::push_image(&http, &url, 1).await.unwrap();
    for seed in 0..8 {
        let blob = pusher::content(100 + seed, 8 * MIB);
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

fn upload_files(disk: &Path) -> usize {
    fs::read_dir(disk.join("data/wharfinger/uploads")).unwrap().count()
}
