//! The system's allocator, told what large pieces are here.

/// Pieces from this size on are had from the system one by one, and given back to it at once.
///
/// By itself, glibc raises this bound to the largest piece that was given back so far, up to 32 MiB. After the first
/// password was hashed, the 19 MiB of the next ones would come from among the small pieces, where one that stays in use
/// is enough to keep the next hash from having that room again: 32 wrong passwords left 500 MiB in use. Above this are
/// only the hashing of passwords and bodies of requests that are looked at whole, neither of which is frequent.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 4 << 20;

/// So much at the end of what the allocator has may stay unused; what is beyond goes back to the system. With the bound
/// above fixed, it would be 128 KiB, less than one piece of an upload.
#[cfg(target_env = "gnu")]
const SPARE: i32 = 2 << 20;

/// Sets the bounds. To be called before there are other threads.
pub(crate) fn set_up() {
    #[cfg(target_env = "gnu")]
    for (bound, value) in [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, SPARE)] {
        // SAFETY: it changes numbers of the allocator, and no other thread uses it yet. If it does not take a value,
        // the bound stays as it was.
        unsafe { libc::mallopt(bound, value) };
    }
}
