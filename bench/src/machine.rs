//! The machine that the figures are of, and how much of it others used meanwhile.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The facts about the machine that a reader of the figures must know.
#[derive(Serialize)]
pub(crate) struct Machine {
    /// The processor, by its own name.
    pub(crate) processor: String,
    /// How many of its cores there are here.
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    /// The release of the kernel.
    pub(crate) kernel: String,
    /// The file system of the data: `disk`, or `memory`, where syncs cost nothing.
    pub(crate) data_on: &'static str,
}

impl Machine {
    /// This machine, with data in that directory.
    pub(crate) fn here(data: &Path) -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let value =
                text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: cores(),
            memory_gib: kib.div_ceil(1 << 20),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            data_on: if in_memory(data) { "memory" } else { "disk" },
        }
    }
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn in_memory(path: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(TMPFS))
}

/// How many bytes can still be written below the path.
pub(crate) fn free_space(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize))
}

/// Processor seconds that the whole machine has spent working.
pub(crate) fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, then idle and waiting for disks, then interrupts, soft interrupts, and stolen time.
    let ticks: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&index: &usize| fields.get(index)).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
