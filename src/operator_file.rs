//! Reads the files that an operator names: configuration, certificates, keys, passwords.
//!
//! They may be pipes (`<(pass show registry)`), and a mistyped device must not be read for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

/// The maximum size in bytes. A bundle of all certificate authorities has about 250 KiB.
const MAX_BYTES: usize = 8 << 20;
/// The time for a pipe to have the next bytes. A server must not wait for ever at a reload.
const PIPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_within(path, PIPE_TIMEOUT)
}

fn read_within(path: &Path, timeout: Duration) -> io::Result<Vec<u8>> {
    // Without the flag, the open of a FIFO waits for its other end.
    let mut file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let (mut content, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        if is_pipe {
            wait(&file, timeout)?;
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(content),
            Ok(length) => content.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_pipe && error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if content.len() > MAX_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "it has more than 8 MiB: is it the right file?",
            ));
        }
    }
}

/// Waits until a pipe has bytes or has ended.
fn wait(file: &File, timeout: Duration) -> io::Result<()> {
    let mut polled = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is to one valid `pollfd`, and the descriptor is open.
    match unsafe { libc::poll(&raw mut polled, 1, milliseconds) } {
        0 => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it is a pipe, and nothing came for {} s", timeout.as_secs_f64()),
        )),
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
        _ => Ok(()),
    }
}

/// Reads a whole file of text.
pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_file_is_refused() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn pipe_is_read_and_a_silent_one_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let error = read_within(&path, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let writer = std::thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, "text").unwrap()
        });
        assert_eq!(read(&path).unwrap(), b"text");
        writer.join().unwrap();
    }

    #[test]
    fn file_is_read_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "text");
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read(&path).unwrap(), [0xff]);
        assert_eq!(read_to_string(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
