//! A small file that an operator edits while the server runs: polled for changes, and read after a debounce.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// A file that is read again after it has changed.
///
/// A change counts when two polls in a row see the same state, so that a half-written file is not read.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The state of the file at the last read, successful or not.
    read: Option<Stamp>,
    /// The state of the file at the last poll.
    polled: Option<Stamp>,
}

/// Differs between two states of a file. Costs one stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl WatchedFile {
    /// Opens the file and returns its content.
    ///
    /// # Errors
    /// If the file cannot be read or is larger than `max_bytes`.
    pub fn open(path: &Path, max_bytes: u64) -> io::Result<(Self, Vec<u8>)> {
        let stamp = Stamp::of(path).ok();
        let state = Mutex::new(State { read: stamp, polled: stamp });
        let file = Self { path: path.to_owned(), max_bytes, state };
        let content = file.read()?;
        Ok((file, content))
    }

    /// The path as the operator wrote it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the content if the file has changed since the last read, and not since the last poll. An error
    /// is returned once for each state of the file.
    pub fn poll(&self) -> Option<io::Result<Vec<u8>>> {
        let stamp = Stamp::of(&self.path).ok();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let is_stable = state.polled == stamp;
            state.polled = stamp;
            if state.read == stamp || !is_stable {
                return None;
            }
            state.read = stamp;
        }
        Some(self.read())
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        // The size of a device or a pipe is unknown.
        let mut content = Vec::new();
        File::open(&self.path)?.take(self.max_bytes + 1).read_to_end(&mut content)?;
        if content.len() as u64 > self.max_bytes {
            return Err(io::Error::other(format!("it has more than {} bytes", self.max_bytes)));
        }
        Ok(content)
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { modified: metadata.modified().ok(), size: metadata.len(), inode: metadata.ino() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watched_file_reports_a_stable_change_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        fs::write(&path, "one").unwrap();
        let (file, content) = WatchedFile::open(&path, 10).unwrap();
        assert_eq!(content, b"one");
        assert!(file.poll().is_none(), "unchanged");
        fs::write(&path, "three").unwrap();
        assert!(file.poll().is_none(), "the file may still be written");
        assert_eq!(file.poll().unwrap().unwrap(), b"three");
        assert!(file.poll().is_none());
        fs::write(&path, "longer than ten bytes").unwrap();
        assert!(file.poll().is_none());
        assert!(file.poll().unwrap().unwrap_err().to_string().contains("more than 10 bytes"));
        assert!(file.poll().is_none(), "the error is reported once");
    }

    #[test]
    fn watched_file_must_exist_at_first() {
        let directory = tempfile::tempdir().unwrap();
        let error = WatchedFile::open(&directory.path().join("none"), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
