//! Faults and kills while clients change their tags in all ways: every acknowledged operation is kept.
//!
//! A library that is loaded with LD_PRELOAD (`faults.c`) lets writes, syncs and renames below the data
//! directory fail at random, and moves the clock. Each round ends with a kill: of the process alone, in a
//! power failure that loses all unsynced writes, on a file system that has become read-only, or after jumps
//! of the clock.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Client;
use tempfile::TempDir;

use crate::client::{NoAnswer, Request as _};
use crate::disk::Disk;
use crate::faults::{Control, number, preloaded};
use crate::model::{Model, SETTINGS};
use crate::random::content;
use crate::rounds::{self, Workers};
use crate::server::Server;

/// Faults in the ordinary run. `WHARFINGER_FAULTS=10000 WHARFINGER_SEED=7` makes a long one.
const FAULTS: u64 = 300;
const CLIENTS: u64 = 4;
/// The password of the administrator.
const PASSWORD: &str = "a-password-of-this-test";
/// One call in so many fails.
const ONE_IN: u64 = 60;

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

impl rounds::Worker for Model {
    async fn step(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        self.operate(http, url).await
    }

    async fn settle(&mut self, http: &Client, url: &str) -> Result<(), NoAnswer> {
        Model::settle(self, http, url).await
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
    fs::write(&settings, format!("{SETTINGS}[gc]\ngrace = 0\ninterval = 0\nuntagged = \"0s\"\n")).unwrap();
    let preload = preloaded(scratch.path(), &control, &data);
    let preload: Vec<&str> = preload.iter().map(String::as_str).collect();
    let password = scratch.path().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let arguments = ["--config", settings.to_str().unwrap(), "--admin", "root", "--admin-password-file"];
    let arguments = [&arguments[..], &[password.to_str().unwrap()]].concat();
    let checked = Arc::new(AtomicU64::new(0));
    let authorization = format!("Basic {}", BASE64.encode(format!("root:{PASSWORD}")));
    let model = |number| Model::new(seed, number, CLIENTS, &authorization, checked.clone());
    let mut workers = Workers::new(seed, (0..CLIENTS).map(model));
    let (mut rounds, mut ends, mut clock) = (0, BTreeMap::new(), 0);
    while control.faults() < goal {
        // A start must succeed, so it has no faults.
        let server = Server::start_as(&preload, &data, &arguments);
        workers.settle(&server);
        // A state that was seen without an acknowledgement may not be durable.
        disk.sync();
        let end = End::ALL[rounds % End::ALL.len()];
        workers.for_each(|worker| worker.may_forget_blobs(end == End::ClockJumps));
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
        let collected = http
            .post(format!("{}/api/v1/gc", server.url()))
            .header("authorization", &authorization)
            .answer()
            .await
            .unwrap();
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
