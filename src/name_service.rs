//! Lookups of users and hosts in a static binary (`scripts/release`).
//!
//! glibc loads the modules of `/etc/nsswitch.conf`, such as libnss_systemd, also into a static binary. They
//! bring a second C library, and crash the process: `wharfinger ls` of root ended with a segmentation fault
//! on machines with systemd. So a static binary uses only the files in `/etc` and DNS, which are built in.
//!
//! This file uses no crate, so that `tests/clients/static_binary.rs` can compile it into a small static
//! program.

/// The databases, and the built-in services for each.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
const SERVICES: [(&std::ffi::CStr, &std::ffi::CStr); 4] =
    [(c"passwd", c"files"), (c"group", c"files"), (c"initgroups", c"files"), (c"hosts", c"files dns")];

/// Replaces `/etc/nsswitch.conf` in a static binary. Call it before other threads start.
pub(crate) fn set_up() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    for (database, services) in SERVICES {
        // It is a part of <nss.h>.
        unsafe extern "C" {
            fn __nss_configure_lookup(
                database: *const std::ffi::c_char,
                services: *const std::ffi::c_char,
            ) -> std::ffi::c_int;
        }
        // SAFETY: both texts live for ever, and no other thread looks up a name yet. After an error, the
        // lookups are those of the file.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}
