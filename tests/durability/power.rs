//! A failure of power: files that were not synced are gone, empty, cut short or full of zeros, or
//! were not even made yet. What was acknowledged is whole nevertheless after the next start, before
//! anything is served.

use std::fs;
use std::path::{Path, PathBuf};

use oci::Digest;
use reqwest::Client;
use store::Metadata;
use store::metadata::JournaledContent;
use tempfile::TempDir;

use crate::pusher::{self, Image};
use crate::server::Server;

/// Pushes in a row, so that the last ones come while what was pushed before is settled.
const PUSHES: u64 = 12;
/// The server is killed when it has acknowledged the last push. It may have settled everything by
/// then; so it is tried again.
const ATTEMPTS: u64 = 20;

#[tokio::test]
async fn acknowledged_pushes_survive_lost_unsynced_files() {
    let scratch = TempDir::new().unwrap();
    let data = scratch.path().join("data");
    let http = Client::new();
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

/// What file systems do to a file that was written and never synced.
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
