//! Checks of hand-written concurrent code, in many orders of its steps.
//!
//! The files of that code are modules of this crate too, where `crate::sync` has the atomics and locks of
//! shuttle. Each of them is a point at which shuttle may switch to another thread. It finds lost wakes as
//! deadlocks. Atomics of dependencies are single steps. Memory orders are not checked: each atomic is
//! sequentially consistent.
//!
//! `tests/checks.rs` runs the checks. To add one, take the atomics and locks of the file from `crate::sync`.

#![allow(dead_code, unreachable_pub, reason = "the code is used elsewhere")]

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use metrics::Gauge;
use oci::Algorithm;
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};
use tokio::sync::Semaphore;

use crate::bucket::Bucket;
use crate::connection_table::{ConnectionTable, Held};
use crate::in_progress::InProgress;
use crate::pull_counters::{PullCounter, Pulled, Pulls};

#[path = "../../src/http/middleware/bucket.rs"]
mod bucket;
#[path = "../../src/client_network.rs"]
mod client_network;
#[path = "../../src/http/server/connection_table.rs"]
mod connection_table;
#[path = "../../src/http/server/in_progress.rs"]
mod in_progress;
#[path = "../../crates/registry/src/pulls/counters.rs"]
mod pull_counters;

mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
}

/// The paths that the files use.
mod http {
    pub(crate) mod server {
        pub(crate) use crate::connection_table;
    }
}

/// The interleavings of each scheduler.
const ROUNDS: usize = 2000;
/// The number of places where the second scheduler switches threads: a rare race needs few.
const SWITCHES: usize = 3;

/// Runs a check in random interleavings, and in those with few switches.
///
/// # Panics
/// If the check panics or ends in a deadlock. The message has the schedule.
pub fn run(check: fn()) {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    Runner::new(RandomScheduler::new(ROUNDS), config.clone()).run(check);
    Runner::new(PctScheduler::new(SWITCHES, ROUNDS), config).run(check);
}

/// Concurrent requests get as many units as the bucket has. Spent bandwidth adds up.
pub fn bucket_gives_each_unit_once() {
    let bucket = Arc::new(Bucket::default());
    let takers: Vec<_> = (0..3)
        .map(|_| {
            let bucket = bucket.clone();
            thread::spawn(move || (0..2).filter(|_| bucket.take(100, 10, 40).is_ok()).count())
        })
        .collect();
    let taken: usize = takers.into_iter().map(|taker| taker.join().expect("it does not panic")).sum();
    assert_eq!(taken, 4);
    assert_eq!(bucket.take(100, 10, 40), Err(10));
    let spenders: Vec<_> = (0..3)
        .map(|_| {
            let bucket = bucket.clone();
            thread::spawn(move || bucket.spend(100, 5))
        })
        .collect();
    spenders.into_iter().for_each(join);
    assert_eq!(bucket.wait(100, 40), 15);
}

/// A flush at the same time neither loses pulls nor counts them twice.
pub fn pull_counters_lose_no_pull() {
    let pulls = Arc::new(Pulls::default());
    let pulled = Pulled {
        repository: "team/app".parse().expect("it is a name"),
        tag: None,
        digest: Algorithm::Sha256.digest(b""),
    };
    let counter = PullCounter::new(pulled);
    let counters: Vec<_> = (0..2)
        .map(|_| {
            let (pulls, counter) = (pulls.clone(), counter.clone());
            thread::spawn(move || (0..2).for_each(|_| pulls.count(&counter)))
        })
        .collect();
    let taken = || pulls.take().values().map(|taken| taken.pulls).sum::<u64>();
    let during = taken() + taken();
    counters.into_iter().for_each(join);
    assert_eq!(during + taken(), 4);
    assert_eq!(taken(), 0);
}

fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

/// Enters a table that has room.
fn entered(table: &ConnectionTable, number: u8) -> Held {
    let held = table.enter(client(number), false).now_or_never().expect("there is room");
    held.expect("the network has room")
}

/// Requests of HTTP/2 begin and end in any order. Afterwards, the connection can be evicted.
pub fn connection_is_idle_after_its_last_request() {
    // One place, and 16 for evicted connections that are still open.
    let table = ConnectionTable::new("listen", 1, 1, Gauge::default());
    let held = entered(&table, 1);
    let requests = Arc::new(InProgress::new(Some(held.slot().clone())));
    let others: Vec<_> = (0..3)
        .map(|_| {
            let requests = requests.clone();
            thread::spawn(move || {
                requests.begin();
                requests.end();
            })
        })
        .collect();
    others.into_iter().for_each(join);
    assert_eq!(requests.count(), 0);
    let _second = entered(&table, 2);
    requests.evicted().now_or_never().expect("it is evicted");
}

/// Clients that wait at the limit get in when connections become idle.
pub fn idle_connections_make_room_for_waiting_ones() {
    [1, 2].into_iter().for_each(make_room);
}

/// As many clients wait as there are connections.
fn make_room(connections: u8) {
    let table = ConnectionTable::new("listen", connections.into(), 1, Gauge::default());
    let all_are_in = Arc::new(Semaphore::new(0));
    let open: Vec<_> = (0..connections)
        .map(|number| {
            let held = entered(&table, number);
            let requests = InProgress::new(Some(held.slot().clone()));
            requests.begin();
            let all_are_in = all_are_in.clone();
            thread::spawn(move || {
                requests.end();
                let all_are_in = pin!(all_are_in.acquire());
                // An evicted connection closes.
                block_on(futures_util::future::select(pin!(requests.evicted()), all_are_in));
                drop(held);
            })
        })
        .collect();
    let waiting: Vec<_> = (0..connections)
        .map(|number| {
            let table = table.clone();
            thread::spawn(move || {
                let held = block_on(table.enter(client(100 + number), false));
                held.expect("the network has room")
            })
        })
        .collect();
    let _held: Vec<_> =
        waiting.into_iter().map(|waiting| waiting.join().expect("it does not panic")).collect();
    all_are_in.close();
    open.into_iter().for_each(join);
}

fn join(thread: thread::JoinHandle<()>) {
    thread.join().expect("it does not panic");
}
