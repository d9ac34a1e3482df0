//! The system's scheduler, told how long the turns are that threads take here.

/// The turn that each thread asks for, in nanoseconds: the shortest that there is. Most requests take less.
///
/// Who answers a request needs a processor for a moment, and at once. By itself, the system lets whoever has one keep it
/// for a turn of some milliseconds first: a client that pushes from the same machine, or a thread that hashes. A thread
/// with short turns comes before one with long ones as soon as it has something to do, and those here give way to each
/// other as quickly. On the whole none of them gets more of a processor than without.
const TURN: u64 = 100_000;

/// `SCHED_ATTR_SIZE_VER0` of the kernel, in bytes.
const SIZE: u32 = 48;
const _: () = assert!(size_of::<libc::sched_attr>() == SIZE as usize);

/// Asks for short turns, for this thread and all that will be started from it. To be called before there are others.
///
/// That is the slice of Linux's EEVDF, which everybody may ask for since Linux 6.12 (`sched_setattr(2)`, where
/// `sched_runtime` says it). Before that, and where it is refused, everything stays as it was, as it does where an
/// operator has chosen another policy than the usual one.
pub(crate) fn set_up() {
    if let Some(attributes) = own()
        && attributes.sched_policy == libc::SCHED_OTHER as u32
    {
        let attributes = libc::sched_attr { sched_runtime: TURN, ..attributes };
        // SAFETY: the kernel reads as many bytes as the structure says that it has, while it is borrowed.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}

/// How this thread is scheduled.
fn own() -> Option<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most as many bytes as it is told that there are.
    let told = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    (told == 0).then_some(attributes)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn described() -> (u32, i32, u64) {
        let own = own().expect("a thread can always look at itself");
        (own.sched_policy, own.sched_nice, own.sched_runtime)
    }

    /// Whether a turn can be asked for: that came with Linux 6.12.
    fn can_be_asked_for() -> bool {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
        (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 12)
    }

    #[test]
    fn turns_are_short_and_nothing_else_changes_also_for_threads_that_come_later() {
        let asked = thread::spawn(|| {
            let before = described();
            set_up();
            (before, described(), thread::spawn(described).join().unwrap())
        });
        let (before, own, later) = asked.join().unwrap();
        assert_eq!((own.0, own.1), (before.0, before.1));
        assert_eq!(own.2, if can_be_asked_for() { TURN } else { before.2 });
        assert_eq!(later, own);
    }
}
