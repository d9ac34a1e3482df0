//! Settings of glibc's allocator for large allocations.

/// Allocations from this size on are mapped one by one, and unmapped when freed.
///
/// glibc raises this threshold up to 32 MiB, to the largest freed size. The 19 MiB of a password hash would
/// then come from the heap, where a small allocation in use keeps the memory from being reused. 32 wrong
/// passwords left 500 MiB in use. Only password hashes and bodies that are read to their end are larger.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 4 << 20;

/// The unused memory at the top of the heap that is kept. With a fixed mmap threshold glibc keeps 128 KiB,
/// less than a buffer of an upload.
#[cfg(target_env = "gnu")]
const SPARE: i32 = 2 << 20;

/// Sets the thresholds. Call it before other threads start.
pub(crate) fn set_up() {
    #[cfg(target_env = "gnu")]
    for (bound, value) in [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, SPARE)] {
        // SAFETY: it changes settings of the allocator, and no other thread uses it yet. A refused value
        // leaves the setting as it was.
        unsafe { libc::mallopt(bound, value) };
    }
}
