//! Privileges: a command that root runs on the data directory of a service switches to the service's user.
//!
//! Files that the command creates (the database's log, links, blobs) then belong to the service, which could
//! not write them otherwise.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::output::Failure;

/// Switches from root to the owner of the data directory, for the rest of the process. Does nothing for other
/// users, or if root owns the directory.
pub(super) fn become_owner(data: &Path) -> Result<(), Failure> {
    if !is_root() {
        return Ok(());
    }
    // The owner of the service's own files is preferred; before the first start there are none.
    let owner = [data.join("wharfinger"), data.to_owned()].iter().find_map(|path| fs::metadata(path).ok());
    let Some(owner) = owner.filter(|owner| owner.uid() != 0) else { return Ok(()) };
    switch_to(owner.uid(), owner.gid()).map_err(|error| {
        Failure::new(format!("cannot switch to user {}, the owner of {}", owner.uid(), data.display()))
            .because(&error)
    })
}

fn is_root() -> bool {
    // SAFETY: geteuid returns a number and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Switches to a user with its groups. The C library does it in every thread.
fn switch_to(user: libc::uid_t, group: libc::gid_t) -> io::Result<()> {
    let done = |code: libc::c_int| if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the result of getpwuid is read before the next call, because this runs once, at the start of a
    // command. The other calls take numbers, and a string that lives long enough.
    unsafe {
        let entry = libc::getpwuid(user);
        match entry.is_null() {
            true => done(libc::setgroups(1, &raw const group))?,
            false => done(libc::initgroups((*entry).pw_name, group))?,
        }
        done(libc::setgid(group))?;
        done(libc::setuid(user))
    }
}
