//! Ballast: a file that holds space back for deletions on a full disk.
//!
//! A deletion appends to the database's log. If the disk is full, the ballast is emptied, and the deletion runs again.
//! Later, when there is room, the ballast is filled again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::Metadata;
use crate::space::Space;

/// The ballast of a large disk in bytes: more than the log of a deletion.
const MOST: u64 = 4 << 20;
const LEAST: u64 = 256 << 10;
/// The part of a small disk that the ballast takes.
const SHARE: u64 = 64;

/// The file beside the database.
pub(super) struct Ballast {
    path: PathBuf,
    /// Serializes filling and emptying.
    lock: Mutex<()>,
}

impl Ballast {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, lock: Mutex::new(()) }
    }

    /// Gives its space back to the disk. Returns `false` if it had none.
    pub(super) fn release(&self) -> bool {
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let released = File::options().write(true).open(&self.path).and_then(|file| {
            let had_space = file.metadata()?.len() > 0;
            file.set_len(0)?;
            Ok(had_space)
        });
        released.unwrap_or(false)
    }

    /// Takes its space from the disk, if there is plenty.
    fn fill(&self) -> io::Result<()> {
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = self.path.parent().unwrap_or(&self.path);
        let space = Space::of(directory)?;
        let size = (space.total / SHARE).clamp(LEAST, MOST);
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        let present = file.metadata()?.len();
        if present >= size || space.free < 2 * size {
            return Ok(());
        }
        // Zeros instead of a hole: a hole takes no space.
        let zeros = [0; 64 << 10];
        let mut missing = size - present;
        while missing > 0 {
            let part = usize::try_from(missing).unwrap_or(zeros.len()).min(zeros.len());
            if let Err(error) = file.write_all(&zeros[..part]) {
                file.set_len(0)?;
                return Err(error);
            }
            missing -= part as u64;
        }
        Ok(())
    }
}

impl Metadata {
    /// Keeps space for deletions on a full disk, as far as there is space now. Blocks.
    pub fn fill_ballast(&self) {
        if let Err(error) = self.inner.ballast.fill() {
            tracing::debug!(%error, "the space for deletions on a full disk cannot be kept back now");
        }
    }
}
