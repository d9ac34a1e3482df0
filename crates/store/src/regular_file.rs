//! Opens regular files in directories that other programs write to.
//!
//! Opening a FIFO waits for its other end, so that one FIFO would block a thread for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a file for reading, without waiting. `None` if it is a directory, a FIFO, a socket or a device.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    open_with(path, 0)
}

/// The same, and `None` if it is a symbolic link.
pub(crate) fn open_no_follow(path: &Path) -> io::Result<Option<File>> {
    match open_with(path, libc::O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
        opened => opened,
    }
}

fn open_with(path: &Path, flags: i32) -> io::Result<Option<File>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | flags;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // A socket, or a device without a driver.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(None),
        opened => opened?,
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Reads a whole file. `None` if it is not a regular file.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let mut content = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.read_to_end(&mut content)?;
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), kind, mode, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert_eq!(read(&at("file")).unwrap().as_deref(), Some(&b"text"[..]));
        assert_eq!(read(&at("link")).unwrap().as_deref(), Some(&b"text"[..]));
        assert!(open_no_follow(&at("link")).unwrap().is_none());
        assert!(open_no_follow(&at("file")).unwrap().is_some());
        for other in [at("fifo"), at("socket"), scratch.path().to_owned(), "/dev/zero".into()] {
            assert!(open(&other).unwrap().is_none(), "{other:?}");
        }
        assert_eq!(open(&at("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
