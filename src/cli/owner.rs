//! Privileges: a command that root runs on the data directory of a service works as the service's user.
//!
//! Whatever such a command makes (the database's log, links, blobs) then belongs to the service, which could not
//! write there otherwise.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::output::Failure;

/// Drops the privileges of root for those of the user who has the data directory, for the rest of the process. Others,
/// and root on a directory of its own, stay who they are.
pub(super) fn become_owner(data: &Path) -> Result<(), Failure> {
    if !is_root() {
        return Ok(());
    }
    // The files of the service tell best; before its first start there are none.
    let owner = [data.join("wharfinger"), data.to_owned()].iter().find_map(|path| fs::metadata(path).ok());
    let Some(owner) = owner.filter(|owner| owner.uid() != 0) else { return Ok(()) };
    switch_to(owner.uid(), owner.gid()).map_err(|error| {
        Failure::new(format!("cannot become user {}, who has {}", owner.uid(), data.display()))
            .because(&error)
    })
}

fn is_root() -> bool {
    // SAFETY: it reads a number, and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Takes the identity of a user, with the groups that it is in. The C library does it in every thread.
fn switch_to(user: libc::uid_t, group: libc::gid_t) -> io::Result<()> {
    let done = |code: libc::c_int| if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: what getpwuid returns is read before anybody calls it again: this runs once, at the start of a command.
    // The other calls take numbers, and a string that lives as long.
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
