//! Measures throughput and CPU time of the blob store of a directory.
//!
//! `cargo run --release -p store --example blob_speed -- <directory> [MiB]`

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use oci::{Algorithm, Digest, Digester};
use store::blobs::open_files;
use store::{BlobStore, Directory, StoreError};
use uuid::Uuid;

/// The size of a write, as pieces come from a connection.
const PIECE: usize = 16 << 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let mib: u64 = match arguments.next() {
        Some(mib) => mib.to_str().ok_or("how many MiB?")?.parse()?,
        None => 1024,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(directory, mib))
}

async fn measure(directory: PathBuf, mib: u64) -> Result<(), Box<dyn std::error::Error>> {
    hash_alone();
    let blobs = open_files(&Directory::open(&directory)?);
    let digest = upload(&blobs, mib).await?;
    let path = directory.join("docker/registry/v2/blobs/sha256").join(&digest.hex()[..2]);
    let path = path.join(digest.hex()).join("data");
    for _ in 0..2 {
        read(&blobs, &digest, "read, in memory").await?;
    }
    drop_from_memory(&path)?;
    read(&blobs, &digest, "read, from the disk").await?;
    blobs.delete(&digest).await?;
    for tasks in [1, 16] {
        put(&blobs, tasks).await?;
    }
    lookups(&blobs).await?;
    Ok(())
}

fn hash_alone() {
    let content = random(1 << 20);
    let clock = Clock::start();
    let mut digester = Digester::new(Algorithm::Sha256);
    for _ in 0..1024 {
        digester.update(&content);
    }
    std::hint::black_box(digester.finish());
    clock.report("sha256 alone", 1 << 30);
}

async fn upload(blobs: &Arc<dyn BlobStore>, mib: u64) -> Result<Digest, StoreError> {
    let content = Bytes::from(random(32 << 20));
    let total = mib.next_multiple_of(32) << 20;
    let mut digester = Digester::new(Algorithm::Sha256);
    (0..total / (32 << 20)).for_each(|_| digester.update(&content));
    let digest = digester.finish();
    let clock = Clock::start();
    let mut upload = blobs.begin(Uuid::new_v4(), Algorithm::Sha256).await?;
    while upload.offset() < total {
        let begin = usize::try_from(upload.offset() % (32 << 20)).unwrap_or(0);
        upload.write(content.slice(begin..begin + PIECE)).await?;
    }
    let written = clock.begun.elapsed();
    upload.commit(&digest).await?;
    clock.report("upload", total);
    println!("{:>28} of which commit {:?}", "", clock.begun.elapsed().saturating_sub(written));
    Ok(digest)
}

async fn read(blobs: &Arc<dyn BlobStore>, digest: &Digest, what: &str) -> Result<(), StoreError> {
    let clock = Clock::start();
    let Some(blob) = blobs.open(digest).await? else { return Ok(()) };
    let size = blob.size;
    // To a socket, as a server does; what the other end costs is not counted.
    let (mut to, from) = UnixStream::pair().map_err(|error| StoreError::io("make", "socket", error))?;
    let mut sink = Command::new("cat")
        .stdin(OwnedFd::from(from))
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| StoreError::io("start", "cat", error))?;
    let mut pieces = blob.read(0..size);
    while let Some(piece) = pieces.next().await {
        to.write_all(&piece?).map_err(|error| StoreError::io("write", "socket", error))?;
    }
    drop((to, pieces));
    clock.report(&format!("{what}, to a socket"), size);
    let _ = sink.wait();
    let Some(blob) = blobs.open(digest).await? else { return Ok(()) };
    let clock = Clock::start();
    let mut pieces = blob.read(0..size);
    while let Some(piece) = pieces.next().await {
        std::hint::black_box(piece?);
    }
    drop(pieces);
    clock.report(&format!("{what}, windows only"), size);
    Ok(())
}

fn drop_from_memory(path: &std::path::Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

async fn put(blobs: &Arc<dyn BlobStore>, tasks: u64) -> Result<(), Box<dyn std::error::Error>> {
    const COUNT: u64 = 640;
    let begun = Instant::now();
    let cpu = cpu_time();
    let mut running = Vec::new();
    for task in 0..tasks {
        let blobs = blobs.clone();
        running.push(tokio::spawn(async move {
            for _ in 0..COUNT / tasks {
                let mut content = random(2000);
                content.extend(task.to_le_bytes());
                let digest = Algorithm::Sha256.digest(&content);
                blobs.put(&digest, content.into()).await?;
            }
            Ok::<(), StoreError>(())
        }));
    }
    for task in running {
        task.await??;
    }
    let each = begun.elapsed().as_secs_f64() / 640.0;
    let cpu = (cpu_time() - cpu).as_secs_f64() / 640.0;
    println!(
        "{:>28} {:>8.0} /s, {:.0} µs of CPU each",
        format!("put, {tasks} at once"),
        1.0 / each,
        cpu * 1e6
    );
    Ok(())
}

async fn lookups(blobs: &Arc<dyn BlobStore>) -> Result<(), StoreError> {
    let content = Bytes::from(random(4000));
    let digest = Algorithm::Sha256.digest(&content);
    blobs.put(&digest, content).await?;
    let begun = Instant::now();
    for _ in 0..20_000 {
        std::hint::black_box(blobs.get(&digest).await?);
    }
    println!("{:>28} {:>8.0} /s", "get, one after another", 20_000.0 / begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    for _ in 0..20_000 {
        std::hint::black_box(blobs.open(&digest).await?);
    }
    println!("{:>28} {:>8.0} /s", "open, one after another", 20_000.0 / begun.elapsed().as_secs_f64());
    Ok(())
}

struct Clock {
    begun: Instant,
    cpu: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu_time() }
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    fn report(&self, what: &str, bytes: u64) {
        let gb = bytes as f64 / 1e9;
        let (wall, cpu) = (self.begun.elapsed().as_secs_f64(), (cpu_time() - self.cpu).as_secs_f64());
        println!("{what:>28} {:>8.2} GB/s, {:.3} s of CPU a GB", gb / wall, cpu / gb);
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn random(length: usize) -> Vec<u8> {
    let mut content = vec![0; length];
    // An error leaves zeros, which serve as well.
    let _ = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut content));
    content
}
