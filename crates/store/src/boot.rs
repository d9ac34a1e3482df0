//! The boot id of the machine, which tells files and rows from before a power failure.

use std::fs;

use uuid::Uuid;

pub(crate) fn boot_id() -> String {
    // Without a boot id from the system, uploads end with the process.
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| Uuid::new_v4().to_string(), |id| id.trim().to_owned())
}
