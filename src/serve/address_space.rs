//! Address space: warns of a limit (RLIMIT_AS) that threads, the database and mapped blobs can reach.

use rustix::process::{Resource, getrlimit};

/// With this limit, three pulls of one blob of 1.5 GB and eight pushes of 60 MB at once succeeded. With 200
/// MB (`prlimit --as=200000000 wharfinger serve`), an idle server failed at its start in some runs.
const ENOUGH: u64 = 1 << 30;

/// Warns of a small limit. Call it before the database is opened, which fails with "out of memory".
pub(super) fn warn_of_limit() {
    if let Some(limit) = too_small(getrlimit(Resource::As).current) {
        tracing::warn!(
            limit,
            enough = ENOUGH,
            "the limit of address space (RLIMIT_AS, `ulimit -v`, `prlimit --as`, LimitAS) is too small: threads, the \
             database and mapped blobs fail with \"out of memory\", though they use little memory. Remove it, and \
             limit the memory instead (MemoryMax of systemd, or the limit of a container)"
        );
    }
}

fn too_small(limit: Option<u64>) -> Option<u64> {
    limit.filter(|limit| *limit < ENOUGH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_limits_are_warned_of() {
        assert_eq!(too_small(None), None);
        assert_eq!(too_small(Some(ENOUGH)), None);
        assert_eq!(too_small(Some(200_000_000)), Some(200_000_000));
    }
}
