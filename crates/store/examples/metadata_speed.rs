//! Measures the metadata cost of small images: two blobs and a manifest with a tag for each, made durable.
//!
//! `cargo run --release -p store --example metadata_speed -- <directory> [images] [pushers]`

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oci::media_type::{OCI_CONFIG, OCI_MANIFEST};
use oci::{Algorithm, Manifest};
use store::Metadata;
use store::blobs::Stored;
use store::metadata::{ManifestRecord, Part, PutManifest};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let images: usize = arguments.next().map_or(Ok(10_000), |images| images.parse())?;
    let pushers: usize = arguments.next().map_or(Ok(16), |pushers| pushers.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(directory, images, pushers))
}

async fn measure(directory: PathBuf, images: usize, pushers: usize) -> Result<(), Failure> {
    std::fs::create_dir_all(&directory)?;
    let metadata = Metadata::open(&directory.join("metadata.db"))?;
    let (begun, before) = (Instant::now(), processor_time());
    let all: Vec<_> = (0..pushers)
        .map(|pusher| {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                for number in 0..images / pushers {
                    push(&metadata, pusher, number).await?;
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    let blob_journal = tokio::spawn(flush(metadata.clone()));
    for pushing in all {
        pushing.await??;
    }
    blob_journal.abort();
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), processor_time() - before);
    let count = (images / pushers * pushers) as f64;
    println!(
        "{pushers} pushers: {:.0} images/s, {:.0} µs of the processor for each",
        count / seconds,
        cpu * 1e6 / count
    );
    metadata.close().await;
    Ok(())
}

/// As if files were made of all content twice a second.
async fn flush(metadata: Metadata) -> Result<Infallible, Failure> {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(newest) = metadata.newest_journaled().await? {
            metadata.flushed(newest, &[]).await?;
        }
    }
}

/// As an image is pushed: its layer, its config, its manifest.
async fn push(metadata: &Metadata, pusher: usize, number: usize) -> Result<(), Failure> {
    let repository = format!("team-{pusher}/app-{}", number % 10).parse()?;
    let mut parts = Vec::new();
    for length in [2_000 + number * 7_919 % 30_000, 200] {
        let mut content = format!("{pusher} {number} {length}").into_bytes();
        content.resize(length, 7);
        let digest = Algorithm::Sha256.digest(&content);
        let size = content.len() as u64;
        let stored = Stored { size, journaled: Some(Bytes::from(content)) };
        metadata.link_blob(&repository, &digest, stored).await?;
        parts.push(Part { digest, size, is_manifest: false, required: true });
    }
    let content = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"{OCI_CONFIG}","digest":"{}","size":200}},"layers":[]}}"#,
        parts[1].digest
    );
    let manifest = Manifest::parse(content.as_bytes(), None)?;
    let record = ManifestRecord {
        digest: Algorithm::Sha256.digest(content.as_bytes()),
        media_type: manifest.media_type,
        size: content.len() as u64,
    };
    metadata
        .put_manifest(PutManifest {
            repository,
            manifest: record,
            journaled: Some(Bytes::from(content)),
            parts,
            stored_sizes: None,
            artifact_type: None,
            annotations: manifest.annotations,
            subject: None,
            is_index: false,
            tags: vec![format!("v{number}").parse()?],
            description: None,
            is_fetched: false,
        })
        .await?;
    Ok(())
}

/// Seconds of the processor that this process took.
fn processor_time() -> f64 {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    usage.tv_sec as f64 + usage.tv_nsec as f64 / 1e9
}
