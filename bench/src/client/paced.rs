//! Requests at a fixed pace, whatever the server does: what someone notices who uses it while it is busy.
//!
//! The time of a request counts from when it was due, not from when it could be sent. A server that stalls
//! for a second therefore shows in every request of that second, not in one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::connection::{Body, Connection};
use super::origin::Origin;
use crate::parallel::parallel;
use crate::statistics::Latencies;

/// How nice the probing threads are: they come before what keeps the server busy.
const AHEAD: i32 = -15;

/// GETs the target at this interval from a connection of its own until `stop`, or until `limit` has passed.
/// It has a thread of its own: what is started from one that comes before others, a server for example, would
/// do so too.
pub(crate) fn probe(
    origin: &Origin,
    target: &str,
    interval: Duration,
    stop: &AtomicBool,
    limit: Duration,
) -> Result<Latencies> {
    let probed = parallel(1, |_| probe_ahead(origin, target, interval, stop, limit))?;
    Ok(probed.into_iter().next().unwrap_or_default())
}

fn probe_ahead(
    origin: &Origin,
    target: &str,
    interval: Duration,
    stop: &AtomicBool,
    limit: Duration,
) -> Result<Latencies> {
    // The wait for a processor that the generator's own pushes have would count against the server, as it
    // never does between two machines. It needs a privilege; without it the figures are larger for all
    // servers.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), AHEAD);
    let mut connection = Connection::to(origin);
    connection.expect(200, "GET", target, Body::Empty)?;
    let mut latencies = Latencies::with_capacity(1 << 14);
    let start = Instant::now();
    let mut due = start;
    while !stop.load(Ordering::Relaxed) && start.elapsed() < limit {
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.expect(200, "GET", target, Body::Empty)?;
        latencies.add(due.elapsed());
    }
    Ok(latencies)
}
