//! Faults and kills while clients push, delete and collect: every acknowledged operation is kept.
//!
//! A library that is loaded with LD_PRELOAD (`faults.c`) lets writes, syncs and renames below the data
//! directory fail at random, and moves the clock. Each round ends with a kill: of the process alone, in a
//! power failure that loses all unsynced writes, on a file system that has become read-only, or after jumps
//! of the clock.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci::{Algorithm, Digest};
use reqwest::{Client, StatusCode};
use tempfile::TempDir;

use crate::client::{NoAnswer, Request as _};
use crate::disk::Disk;
use crate::faults::{Control, number, preloaded};
use crate::pusher::content;
use crate::rounds::{self, Random, Workers};
use crate::server::Server;

/// Faults in the ordinary run. `WHARFINGER_FAULTS=10000 WHARFINGER_SEED=7` makes a long one.
const FAULTS: u64 = 300;
const CLIENTS: u64 = 4;
/// One call in so many fails.
const ONE_IN: u64 = 60;
const TAGS: u64 = 3;

/// The possible states of a tag: the layer of its image, or none. One after an acknowledged operation.
type Model = BTreeMap<u64, Vec<Option<u64>>>;

struct Worker {
    number: u64,
    random: Random,
    model: Model,
    /// The answers to the operations of the round, for a failure.
    answers: Vec<String>,
    checked: Arc<AtomicU64>,
    /// Uploaded blobs may expire before their manifest arrives.
    clock_jumps: bool,
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    PowerFailure,
    ReadOnly,
    ClockJumps,
}

impl End {
    const ALL: [Self; 4] = [Self::Kill, Self::PowerFailure, Self::ReadOnly, Self::ClockJumps];
}

fn layer(number: u64, seed: u64) -> Vec<u8> {
    // Shared by all clients, so that mounts, existing blobs and deletions meet.
    let length = if seed.is_multiple_of(3) { 150_000 } else { 2_000 };
    content(seed % 12 + 1_000 * (number % 2), length)
}

fn manifest(number: u64, seed: u64) -> String {
    let part = |media_type: &str, blob: &[u8]| {
        let digest = Algorithm::Sha256.digest(blob);
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, blob.len())
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}],"annotations":{{"by":"{number} {seed}"}}}}"#,
        oci::media_type::OCI_MANIFEST,
        part("application/vnd.oci.image.config.v1+json", b"{}"),
        part("application/x", &layer(number, seed)),
    )
}

impl Worker {
    fn repository(&self) -> String {
        format!("team/r{}", self.number)
    }

    async fn operate(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        let (tag, seed) = (self.random.below(TAGS), self.random.below(40));
        match self.random.below(8) {
            0..=3 => {
                let mut states = self.model.get(&tag).cloned().unwrap_or_else(|| vec![None]);
                states.push(Some(seed));
                // Before the request, because it may succeed without an answer.
                self.model.insert(tag, states);
                let pushed = self.push(http, url, tag, seed).await;
                if pushed.is_err() {
                    self.answers.push(format!("push t{tag} {seed}: no answer"));
                }
                if pushed? {
                    self.model.insert(tag, vec![Some(seed)]);
                    self.checked.fetch_add(1, Ordering::Relaxed);
                }
            }
            4 | 5 => {
                let mut states = self.model.get(&tag).cloned().unwrap_or_else(|| vec![None]);
                states.push(None);
                self.model.insert(tag, states);
                let path = format!("{url}/v2/{}/manifests/t{tag}", self.repository());
                let status = http.delete(path).answer().await?.status();
                self.answers.push(format!("delete t{tag}: {status}"));
                if status == StatusCode::ACCEPTED || status == StatusCode::NOT_FOUND {
                    self.model.insert(tag, vec![None]);
                    self.checked.fetch_add(1, Ordering::Relaxed);
                }
            }
            6 => {
                let collected = http.post(format!("{url}/api/v1/gc")).answer().await?;
                collected.bytes().await?;
            }
            _ => {
                // A pull that fails is repeated after the faults. It must not give wrong bytes.
                self.look(http, url, tag, false).await?;
            }
        }
        Ok(())
    }

    async fn push(&mut self, http: &Client, url: &str, tag: u64, seed: u64) -> Result<bool, NoAnswer> {
        let repository = self.repository();
        for blob in [b"{}".to_vec(), layer(self.number, seed)] {
            let digest = Algorithm::Sha256.digest(&blob);
            let there = http.head(format!("{url}/v2/{repository}/blobs/{digest}")).answer().await?;
            if there.status() != StatusCode::OK {
                let path = format!("{url}/v2/{repository}/blobs/uploads/?digest={digest}");
                if http.post(path).body(blob).answer().await?.status() != StatusCode::CREATED {
                    return Ok(false);
                }
            }
        }
        let put = http
            .put(format!("{url}/v2/{repository}/manifests/t{tag}"))
            .header("content-type", oci::media_type::OCI_MANIFEST)
            .body(manifest(self.number, seed));
        let answer = put.answer().await?;
        let status = answer.status();
        self.answers.push(format!("push t{tag} {seed}: {status}"));
        // A blob that was there must not be missing now.
        let is_refused = status.is_client_error() && !self.clock_jumps;
        assert!(!is_refused, "push of {repository}:t{tag}: {status} {}", answer.text().await?);
        Ok(status == StatusCode::CREATED)
    }

    /// Pulls a tag down to its layer, and compares it with the possible states. Returns the state, if the
    /// pull succeeds. `strictly` means that it must.
    async fn look(
        &self,
        http: &Client,
        url: &str,
        tag: u64,
        strictly: bool,
    ) -> Result<Option<Option<u64>>, NoAnswer> {
        let repository = self.repository();
        let states = self.model.get(&tag).cloned().unwrap_or_else(|| vec![None]);
        let got = http.get(format!("{url}/v2/{repository}/manifests/t{tag}")).answer().await?;
        let status = got.status();
        let name = format!("{repository}:t{tag}, which may be {states:?}");
        if status == StatusCode::NOT_FOUND {
            assert!(states.contains(&None), "{name}: it is gone");
            return Ok(Some(None));
        }
        if status != StatusCode::OK {
            assert!(!strictly, "{name}: {status}");
            return Ok(None);
        }
        let Ok(bytes) = got.bytes().await else { return Ok(None) };
        let state = states.iter().flatten().find(|seed| manifest(self.number, **seed).as_bytes() == bytes);
        let Some(seed) = state.copied() else {
            let history = http.get(format!("{url}/api/v1/repositories/{repository}/_history?tag=t{tag}"));
            let history = history.answer().await?.text().await?;
            let last: Vec<_> = self.answers.iter().rev().take(20).rev().collect();
            let bytes = String::from_utf8_lossy(&bytes);
            panic!("{name}, is {bytes}; the last answers: {last:?}; its history: {history}");
        };
        let digest: Digest = Algorithm::Sha256.digest(&layer(self.number, seed));
        let blob = http.get(format!("{url}/v2/{repository}/blobs/{digest}")).answer().await?;
        let status = blob.status();
        if status != StatusCode::OK {
            assert!(!strictly && status.is_server_error(), "{name}: its layer {digest}: {status}");
            return Ok(None);
        }
        match blob.bytes().await {
            Ok(bytes) => assert_eq!(Algorithm::Sha256.digest(&bytes), digest, "{name}"),
            Err(_) => assert!(!strictly, "{name}: its layer is cut off"),
        }
        Ok(Some(Some(seed)))
    }
}

impl rounds::Worker for Worker {
    async fn step(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        self.operate(http, url).await
    }

    async fn settle(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        for tag in 0..TAGS {
            let state = self.look(http, url, tag, true).await?;
            self.model.insert(tag, vec![state.expect("a strict look has a state")]);
        }
        self.answers.clear();
        Ok(())
    }
}

#[test]
fn acknowledged_operations_survive_faults() {
    let (goal, seed) = (number("WHARFINGER_FAULTS", FAULTS), number("WHARFINGER_SEED", 1));
    let scratch = TempDir::new().unwrap();
    let disk = Disk::new(96);
    let data = disk.path().join("data");
    let control = Control::new(scratch.path().join("control"), seed);
    let settings = scratch.path().join("wharfinger.toml");
    fs::write(&settings, "[gc]\ngrace = 0\ninterval = 0\nuntagged = \"0s\"\n").unwrap();
    let preload = preloaded(scratch.path(), &control, &data);
    let preload: Vec<&str> = preload.iter().map(String::as_str).collect();
    let arguments = ["--config", settings.to_str().unwrap()];
    let checked = Arc::new(AtomicU64::new(0));
    let worker = |number| Worker {
        number,
        random: Random::new(seed, number),
        model: Model::new(),
        answers: Vec::new(),
        checked: checked.clone(),
        clock_jumps: false,
    };
    let mut workers = Workers::new(seed, (0..CLIENTS).map(worker));
    let (mut rounds, mut ends, mut clock) = (0, BTreeMap::new(), 0);
    while control.faults() < goal {
        // A start must succeed, so it has no faults.
        let server = Server::start_as(&preload, &data, &arguments);
        workers.settle(&server);
        // A state that was seen without an acknowledgement may not be durable.
        disk.sync();
        let end = End::ALL[rounds % End::ALL.len()];
        workers.for_each(|worker| worker.clock_jumps = end == End::ClockJumps);
        let enough = control.faults() + 20.min(goal);
        control.set_rate(ONE_IN);
        workers.work_until_killed(server, |server, running| {
            let begun = std::time::Instant::now();
            while control.faults() < enough && begun.elapsed().as_secs() < 60 && !running.has_failed() {
                std::thread::sleep(std::time::Duration::from_millis(20));
                if end == End::ClockJumps {
                    // Up to two days forward or back, and in the end back to the truth.
                    let random = content(clock, 4);
                    let seconds = i64::from(u32::from_ne_bytes(random.try_into().unwrap()));
                    control.set_clock(seconds % 345_600 - 172_800);
                    clock += 1;
                }
            }
            if end == End::ReadOnly {
                // No sync may be under way: Linux 6.18 reports success for one that the abort interrupts.
                server.pause();
                disk.abort();
                server.resume();
            }
            if matches!(end, End::ReadOnly | End::ClockJumps) {
                // Each request is answered, also after all these faults.
                control.set_rate(0);
                running.wait_for_each();
            }
        });
        control.set_rate(0);
        control.set_clock(0);
        match end {
            End::PowerFailure => disk.lose_power(),
            End::ReadOnly => disk.recover(),
            End::Kill | End::ClockJumps => {}
        }
        println!("round {rounds}, {} faults: {end:?}", control.faults());
        *ends.entry(format!("{end:?}")).or_insert(0) += 1;
        rounds += 1;
    }
    let server = Server::start_as(&preload, &data, &arguments);
    workers.settle(&server);
    // Everything that is left on the disk is needed, or young.
    workers.block_on(async |http| {
        let collected = http.post(format!("{}/api/v1/gc", server.url())).answer().await.unwrap();
        assert!(collected.text().await.unwrap().contains("report"));
    });
    workers.settle(&server);
    server.stop();
    println!(
        "seed {seed}: {} faults, {clock} jumps of the clock and {rounds} kills {ends:?}, {} acknowledged operations, \
         none lost",
        control.faults(),
        checked.load(Ordering::Relaxed)
    );
}
