//! Explains to the operator why the data directory cannot be used.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io};

use crate::StoreError;

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether something is mounted at this path.
pub(super) fn is_mount(path: &Path) -> bool {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statx(rustix::fs::CWD, path, flags, rustix::fs::StatxFlags::BASIC_STATS);
    // Kernels before 5.8 do not tell.
    stat.is_ok_and(|stat| stat.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT))
}

pub(super) fn not_a_directory(path: &Path) -> StoreError {
    StoreError::Directory(format!("{} is a file; the data directory must be a directory", path.display()))
}

/// An access to the data directory, as messages name it.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Read,
    Write,
}

/// Explains why the data directory `root` cannot be used: the access to `path` in it failed.
pub(super) fn access_error(given: &Path, access: Access, path: &Path, error: &io::Error) -> StoreError {
    let path = path.display();
    let verb = match access {
        Access::Read => "read",
        Access::Write => "write to",
    };
    StoreError::Directory(match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = user_name(rustix::process::geteuid().as_raw());
            format!("user {user} may not {verb} {path}. {}", permission_advice(&user, given))
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("cannot {verb} {path}: the file system is mounted read-only; mount it writable")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("cannot {verb} {path}: no space left; free some space and start again")
        }
        io::ErrorKind::NotFound => format!("cannot {verb} {path}: there is no such directory"),
        _ => format!("cannot {verb} {path}: {error}"),
    })
}

/// Returns advice for a user without the permission to use the directory.
fn permission_advice(user: &str, given: &Path) -> String {
    let root = given.display();
    let owner = match fs::metadata(given) {
        Ok(metadata) => user_name(metadata.uid()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return format!("Make the directory first: install -d -o {user} -m 750 {root}");
        }
        Err(_) => return "Run this as the user of the server".to_owned(),
    };
    // A registry keeps its owner, because its server could not write to it otherwise.
    if given.join("wharfinger").exists() || given.join("docker").exists() {
        return format!("{root} belongs to {owner}: run this as that user");
    }
    // In a container, the path is that of the volume, and the owner is changed on the host.
    let volume = if is_mount(given) { ", or the directory of the host that is mounted there" } else { "" };
    format!("{root} belongs to {owner}: run this as that user, or: chown -R {user} {root}{volume}")
}

/// Returns the name of a user, or its number if `/etc/passwd` does not list it.
pub(super) fn user_name(id: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| id.to_string())
}
