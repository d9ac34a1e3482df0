//! File descriptors: raises the limit of the process (RLIMIT_NOFILE), and bounds the connections by it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The descriptors of a connection: its socket, and the file or the upstream of its response.
const PER_CONNECTION: u64 = 2;
/// The descriptors for the database, the listeners and background tasks. A small limit keeps half of them.
const RESERVED: u64 = 256;
/// A smaller loss of connections needs no warning, as a divisor of the setting.
const TOLERATED: usize = 10;

/// Raises the soft limit to the hard limit. Many systems have a soft limit of 1,024 for the sake of `select`.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files (RLIMIT_NOFILE) to its hard limit");
    }
}

/// Returns the number of connections: `limits.connections`, or fewer if the process has too few descriptors.
pub(crate) fn connections(setting: usize) -> usize {
    let Some(descriptors) = getrlimit(Resource::Nofile).current else { return setting };
    let connections = setting.min(most(descriptors));
    if setting - connections >= setting.div_ceil(TOLERATED) {
        tracing::warn!(
            connections,
            setting,
            descriptors,
            "the limit of open files (RLIMIT_NOFILE, `ulimit -n`, LimitNOFILE) allows fewer connections than \
             limits.connections: raise it to {}",
            setting as u64 * PER_CONNECTION + RESERVED
        );
    }
    connections
}

/// The largest number of connections with so many descriptors.
fn most(descriptors: u64) -> usize {
    let left = descriptors - RESERVED.min(descriptors / 2);
    usize::try_from(left / PER_CONNECTION).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(most(64), 16);
        assert_eq!(most(1024), 384);
        assert_eq!(most(20_256), 10_000);
        assert_eq!(most(1), 1);
    }
}
