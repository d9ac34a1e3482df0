//! Measurements with 100,000 repositories, run by hand because no test asserts a time: `cargo test --release
//! -p store measure -- --ignored --nocapture --test-threads=1`.
#![expect(clippy::cast_possible_truncation, reason = "numbers that were made small just before")]

use std::future::Future;
use std::time::{Duration, Instant};

use oci::{Algorithm, Digest, RepositoryName, Tag, TagOrDigest};

use super::{Import, ManifestRecord, Metadata, Part, PutManifest, RepositoryOrder};
use accounts::Visible;

/// The number of repositories, set by `MEASURE_REPOSITORIES`.
fn repositories() -> u64 {
    std::env::var("MEASURE_REPOSITORIES").map_or(100_000, |number| number.parse().unwrap())
}

/// A deterministic pseudo-random generator.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// One of `variety` words of syllables; low numbers are more frequent.
    fn word(&mut self, variety: u64) -> String {
        let mut number = self.below(variety).min(self.below(variety)) + 7;
        let mut word = String::new();
        while number > 0 {
            word.push(char::from(b"bcdfghklmnprstvw"[(number % 16) as usize]));
            word.push(char::from(b"aeiou"[(number / 16 % 5) as usize]));
            number /= 80;
        }
        word
    }
}

fn digest(n: u64) -> Digest {
    Algorithm::Sha256.digest(&n.to_le_bytes())
}

fn image(repository: &str, n: u64, description: Option<String>) -> PutManifest {
    let part = |n| Part { digest: digest(n), size: 1_000 + n % 1_000, is_manifest: false, required: true };
    PutManifest {
        repository: repository.parse().unwrap(),
        manifest: ManifestRecord {
            digest: digest(n),
            media_type: oci::media_type::OCI_MANIFEST.parse().unwrap(),
            size: 500,
        },
        journaled: None,
        artifact_type: None,
        annotations: None,
        subject: None,
        is_index: false,
        // Its own config and layer, and two layers shared with others.
        parts: vec![part(n + 1), part(n + 2), part(n % 50), part(n % 7)],
        stored_sizes: None,
        tags: vec![Tag::latest()],
        description,
        is_fetched: false,
    }
}

fn blobs_of(put: &PutManifest) -> impl Iterator<Item = Import> {
    put.parts.iter().map(|part| Import::Blob {
        at: std::time::SystemTime::now(),
        repository: put.repository.clone(),
        digest: part.digest,
        size: part.size,
    })
}

async fn fill(metadata: &Metadata) {
    let mut numbers = Numbers(1);
    let mut batch = Vec::new();
    for n in 0..repositories() {
        let name = format!("{}/registry-{}-{n}", numbers.word(300), numbers.word(2_000));
        let words: Vec<String> = (0..10).map(|_| numbers.word(5_000)).collect();
        let put = image(&name, 1_000 + n * 10, Some(format!("An image of {}, build {n}", words.join(" "))));
        batch.extend(blobs_of(&put));
        batch.push(Import::Manifest { put: Box::new(put), at: std::time::SystemTime::now() });
        if batch.len() >= 5_000 {
            metadata.import(std::mem::take(&mut batch), true).await.unwrap();
        }
    }
    metadata.import(batch, true).await.unwrap();
}

/// Runs `work` by concurrent `clients` for a while and prints the time of one. `MEASURE_ONLY` selects labels
/// by a part of them.
async fn load<F, W>(label: &str, clients: u64, work: W)
where
    F: Future<Output = ()> + Send,
    W: Fn(u64) -> F + Send + Sync + Clone + 'static,
{
    if std::env::var("MEASURE_ONLY").is_ok_and(|only| !label.contains(&only)) {
        return;
    }
    let span = Duration::from_millis(1_500);
    let begin = Instant::now();
    let cpu = cpu_seconds();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut numbers = Numbers(client + 1);
                while begin.elapsed() < span {
                    let start = Instant::now();
                    work(numbers.below(1 << 31)).await;
                    times.push(start.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!(
        "{label:<42} {clients:>2} clients {:>7.0}/s {:>6.0} us CPU  p50 {:>9.3?}  p99 {:>9.3?}  max {:>9.3?}",
        times.len() as f64 / begin.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) * 1e6 / times.len() as f64,
        at(50),
        at(99),
        at(100)
    );
}

/// The CPU time of this process: on a busy machine it says more than wall-clock time.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn anonymous_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn searches_and_lists_among_many() {
    // A named database is kept for the next run.
    let directory = tempfile::tempdir().unwrap();
    let path = std::env::var_os("MEASURE_DATABASE")
        .map_or_else(|| directory.path().join("metadata.db"), std::path::PathBuf::from);
    let start = Instant::now();
    let metadata = Metadata::open(&path).unwrap();
    if metadata.is_empty().await.unwrap() {
        fill(&metadata).await;
        println!("filled in {:?}, {} s CPU; {}", start.elapsed(), cpu_seconds(), anonymous_memory());
        metadata.close().await;
    }
    println!("{} MiB", std::fs::metadata(&path).unwrap().len() >> 20);
    println!("before: {}", anonymous_memory());
    let start = Instant::now();
    let metadata = Metadata::open(&path).unwrap();
    let is_there = metadata.search(&Visible::Everything, "registry", 0, 1).await.unwrap().total;
    println!("opened and found {is_there} in {:?}; {}", start.elapsed(), anonymous_memory());

    for clients in [1, 16] {
        let store = metadata.clone();
        load("manifest by tag", clients, move |n| {
            let store = store.clone();
            async move {
                let mut numbers = Numbers(n);
                let name: RepositoryName = format!("{}/x", numbers.word(300)).parse().unwrap();
                store.manifest(&name, &TagOrDigest::Tag(Tag::latest())).await.unwrap();
            }
        })
        .await;
        let mut names = Vec::new();
        let mut numbers = Numbers(3);
        while names.len() < 1_000 {
            names.extend(metadata.catalog(&Visible::Everything, Some(&numbers.word(300)), 1).await.unwrap());
        }
        let names = std::sync::Arc::new(names);
        let store = metadata.clone();
        let list = std::sync::Arc::clone(&names);
        load("manifest by tag, any repository", clients, move |n| {
            let (store, list) = (store.clone(), std::sync::Arc::clone(&list));
            async move {
                let name = &list[n as usize % list.len()];
                let found = store.manifest(name, &TagOrDigest::Tag(Tag::latest())).await.unwrap();
                assert!(found.is_some());
            }
        })
        .await;
        let store = metadata.clone();
        let list = std::sync::Arc::clone(&names);
        load("catalog, a page of 100 anywhere", clients, move |n| {
            let (store, list) = (store.clone(), std::sync::Arc::clone(&list));
            async move {
                store
                    .catalog(&Visible::Everything, Some(list[n as usize % list.len()].as_str()), 100)
                    .await
                    .unwrap();
            }
        })
        .await;
        // Names begin with one of 16 letters.
        let quarter = ["b*/**", "c*/**", "d*/**", "f*/**"].map(|pattern| pattern.parse().unwrap());
        for (label, order, visible) in [
            ("the first page by last push", RepositoryOrder::Push, Visible::Everything),
            ("the first page by size", RepositoryOrder::Size, Visible::Everything),
            ("the first page by pulls", RepositoryOrder::Pulls, Visible::Everything),
            ("by last push, of a quarter", RepositoryOrder::Push, Visible::only(quarter.clone())),
            ("by size, of a quarter", RepositoryOrder::Size, Visible::only(quarter.clone())),
            (
                "by pulls, of three in 100,000",
                RepositoryOrder::Pulls,
                Visible::only(["**/*-9999?".parse().unwrap()]),
            ),
        ] {
            let store = metadata.clone();
            load(label, clients, move |_| {
                let (store, visible) = (store.clone(), visible.clone());
                async move {
                    store.repositories_by(order, &visible, None, 50).await.unwrap();
                }
            })
            .await;
        }
        for (label, make) in [
            ("search: a word in every name", (|_| "registry".to_owned()) as fn(u64) -> String),
            ("search: a part of that word", |_| "egistr".to_owned()),
            ("search: a word in every description", |_| "image".to_owned()),
            ("search: a word of a name", |n| Numbers(n).word(2_000)),
            ("search: a word of a description", |n| Numbers(n).word(5_000)),
            ("search: a number", |n| (n % repositories()).to_string()),
            ("search: two digits", |n| (10 + n % 90).to_string()),
            ("search: one letter", |n| char::from(b'a' + (n % 26) as u8).to_string()),
            ("search: two letters", |n| Numbers(n).word(80)[..2].to_owned()),
            ("search: nothing of the kind", |n| format!("zq{n}")),
            ("search: two words, one in every name", |n| format!("registry {}", Numbers(n).word(2_000))),
            ("search: two frequent words", |_| "registry image".to_owned()),
            ("search: a whole name", |n| {
                let mut numbers = Numbers(n);
                format!("{}/registry-{}", numbers.word(300), numbers.word(2_000))
            }),
            ("search: words that never meet", |n| format!("registry build {}", n % 100)),
            ("search: everything", |_| String::new()),
        ] {
            let store = metadata.clone();
            load(label, clients, move |n| {
                let store = store.clone();
                async move {
                    store.search(&Visible::Everything, &make(n), 0, 25).await.unwrap();
                }
            })
            .await;
        }
        println!("{}", anonymous_memory());
    }
    let start = Instant::now();
    println!("{:?} in {:?}", metadata.usage(&Visible::Everything).await.unwrap(), start.elapsed());
    metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn pushes_alone_and_together() {
    let directory = tempfile::tempdir_in(std::env::var("MEASURE_DIRECTORY").unwrap_or(".".into())).unwrap();
    let metadata = Metadata::open(&directory.path().join("metadata.db")).unwrap();
    for clients in [1, 16, 64] {
        let store = metadata.clone();
        load("link a blob", clients, move |n| {
            let store = store.clone();
            async move {
                let name = format!("team/app{}", n % 500).parse().unwrap();
                store.link_blob(&name, &digest(n), 1_000).await.unwrap();
            }
        })
        .await;
        let store = metadata.clone();
        load("put a manifest", clients, move |n| {
            let store = store.clone();
            async move {
                let mut put = image(&format!("team/app{}", n % 500), n, None);
                put.parts.iter_mut().for_each(|part| part.required = false);
                store.put_manifest(put).await.unwrap();
            }
        })
        .await;
        let store = metadata.clone();
        load("save an upload", clients, move |n| {
            let store = store.clone();
            async move {
                let name = "team/app".parse().unwrap();
                let state = crate::blobs::UploadState {
                    id: uuid::Uuid::from_u128(n.into()),
                    offset: n,
                    algorithm: Algorithm::Sha256,
                    hash_state: vec![0; 108],
                    backend: String::new(),
                    is_shared: false,
                };
                if !store.save_upload(&name, None, &state).await.unwrap() {
                    store.create_upload(&name, None, &state).await.unwrap();
                }
            }
        })
        .await;
    }
    metadata.close().await;
}
