//! A power failure: files that were not synced are missing, empty, truncated or full of zeros.
//! Acknowledged content is complete after the next start, before the first request.

use std::fs;
use std::path::{Path, PathBuf};

use oci::Digest;
use reqwest::StatusCode;
use store::Metadata;
use store::metadata::JournaledContent;
use tempfile::TempDir;

use crate::client::client;
use crate::disk::Disk;
use crate::pusher::{self, Image};
use crate::server::Server;

/// The number of pushes in a row, so that the journal is flushed during the last ones.
const PUSHES: u64 = 12;
/// The server is killed after its last acknowledgement. It may have flushed everything by
/// then, so the test tries again.
const ATTEMPTS: u64 = 20;

#[tokio::test]
async fn acknowledged_pushes_survive_lost_unsynced_files() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let http = client();
    let mut acknowledged: Vec<Image> = Vec::new();
    let (mut lost, mut never_made) = (0, 0);
    for attempt in 0..ATTEMPTS {
        let server = Server::start(&data, &[]);
        for seed in attempt * PUSHES..(attempt + 1) * PUSHES {
            acknowledged.push(pusher::push_image(&http, &server.url(), seed).await.unwrap());
        }
        server.kill();
        for content in journaled(&data).await {
            let file = file_of(&data, &content.digest);
            if file.exists() {
                lose(&file, lost);
                lost += 1;
            } else {
                never_made += 1;
            }
        }
        let server = Server::start(&data, &[]);
        for image in &acknowledged {
            let fetched = pusher::fetch_image(&http, &server.url(), image).await;
            assert_eq!(fetched, Ok(true), "{}:{} was acknowledged", image.repository, image.tag);
        }
        server.stop();
        assert!(journaled(&data).await.is_empty(), "after an orderly end all is in files of its own");
        if lost >= 10 && never_made >= 10 {
            return;
        }
    }
    panic!(
        "in {ATTEMPTS} attempts only {lost} files were not flushed yet when the server was killed, \
         and only {never_made} not made yet"
    );
}

#[tokio::test]
async fn first_pushes_survive_a_power_failure() {
    let disk = Disk::new(64);
    let (data, http) = (disk.path().join("data"), client());
    let server = Server::start(&data, &[]);
    let mut images = Vec::new();
    for seed in 0..10 {
        images.push(pusher::push_image(&http, &server.url(), seed).await.unwrap());
    }
    server.kill();
    disk.lose_power();
    let server = Server::start(&data, &[]);
    for image in &images {
        assert_eq!(pusher::fetch_image(&http, &server.url(), image).await, Ok(true), "{}", image.tag);
    }

    disk.abort();
    let ready =
        async || http.get(format!("{}/readyz", server.url())).send().await.unwrap().text().await.unwrap();
    assert!(ready().await.contains("degraded: the disk is read-only"), "{}", ready().await);
    let tag = format!("{}/v2/{}/manifests/{}", server.url(), images[0].repository, images[0].tag);
    assert_eq!(http.delete(tag).send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    let refused = pusher::push_image(&http, &server.url(), 99).await.unwrap_err();
    assert!(refused.starts_with("503"), "{refused}");
    assert_eq!(pusher::fetch_image(&http, &server.url(), &images[0]).await, Ok(true), "pulls go on");
    server.kill();
    disk.recover();
    let server = Server::start(&data, &[]);
    for image in &images {
        assert_eq!(pusher::fetch_image(&http, &server.url(), image).await, Ok(true), "{}", image.tag);
    }
    pusher::push_image(&http, &server.url(), 99).await.unwrap();
    server.stop();
}

async fn journaled(data: &Path) -> Vec<JournaledContent> {
    let metadata = Metadata::open(&data.join("wharfinger/metadata.db")).unwrap();
    let journaled = metadata.journaled(0, 10_000).await.unwrap();
    metadata.close().await;
    journaled
}

fn file_of(data: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    data.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

/// The states in which file systems leave a file that was never synced.
fn lose(file: &Path, number: usize) {
    let content = fs::read(file).unwrap();
    match number % 5 {
        0 => fs::write(file, "").unwrap(),
        1 => fs::write(file, &content[..content.len() / 2]).unwrap(),
        2 => fs::write(file, vec![0; content.len()]).unwrap(),
        3 => fs::remove_file(file).unwrap(),
        _ => fs::remove_dir_all(file.parent().unwrap()).unwrap(),
    }
}
