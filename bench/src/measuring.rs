//! The cost of a piece of work: the server, this load generator, and interference by other processes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::machine;
use crate::process::{Meter, own_cpu};

/// How long a server may work on after its last answer and still have it counted.
const REST: Duration = Duration::from_secs(15);
/// A server that does nothing for so long has come to rest. It may be that it puts work off until nobody
/// wants anything of it, and looks for that for a second.
const CALM: Duration = Duration::from_millis(2500);

/// The cost of a piece of work.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// How long it took.
    pub(crate) seconds: f64,
    /// Processor seconds of the server, including what it did after the last answer.
    pub(crate) server_cpu: f64,
    /// Processor seconds of the load generator.
    pub(crate) generator_cpu: f64,
    /// The share of the machine, 0 to 1, that neither of them used: other programs and the kernel's own
    /// threads, such as those that write to disk.
    pub(crate) elsewhere: f64,
    /// The most anonymous memory that the server had, in MiB.
    pub(crate) peak_mib: f64,
}

/// Does the work and measures it.
///
/// Beforehand everything on its way to the disk is written, so that nobody pays for what another left behind.
/// The server's time is read only when it has come to rest: what it puts off until after its answer is its
/// work as well.
pub(crate) fn measure<T>(meter: &Meter, work: impl FnOnce() -> Result<T>) -> Result<(T, Usage)> {
    rustix::fs::sync();
    rest(meter, REST);
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let before = (meter.cpu(), own_cpu(), machine::busy());
    let (done, seconds, peak) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = meter.anonymous();
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                peak = peak.max(meter.anonymous());
            }
            peak
        });
        let done = work();
        let seconds = start.elapsed().as_secs_f64();
        rest(meter, REST);
        stop.store(true, Ordering::Relaxed);
        (done, seconds, sampler.join().unwrap_or(0))
    });
    let after = (meter.cpu(), own_cpu(), machine::busy());
    let (server_cpu, generator_cpu) = (after.0 - before.0, after.1 - before.1);
    let whole = start.elapsed().as_secs_f64() * machine::cores() as f64;
    let elsewhere = ((after.2 - before.2 - server_cpu - generator_cpu) / whole).max(0.0);
    let usage = Usage { seconds, server_cpu, generator_cpu, elsewhere, peak_mib: mib(peak) };
    Ok((done?, usage))
}

/// Waits until others leave at least nine tenths of the machine alone, so long at most.
pub(crate) fn await_quiet(patience: Duration) {
    let start = Instant::now();
    while start.elapsed() < patience {
        let (before, begun) = (machine::busy(), Instant::now());
        std::thread::sleep(Duration::from_millis(500));
        let whole = begun.elapsed().as_secs_f64() * machine::cores() as f64;
        if (machine::busy() - before) / whole < 0.1 {
            return;
        }
    }
}

/// Waits until the server has done nothing for a while, so long at most.
pub(crate) fn rest(meter: &Meter, patience: Duration) {
    let start = Instant::now();
    let (mut last, mut calm) = (meter.cpu(), start);
    while start.elapsed() < patience && calm.elapsed() < CALM {
        std::thread::sleep(Duration::from_millis(100));
        let now = meter.cpu();
        if now - last >= 0.011 {
            calm = Instant::now();
        }
        last = now;
    }
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes as GB, a thousand million.
pub(crate) fn gb(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}
