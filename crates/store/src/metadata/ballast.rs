//! Ballast: files that hold space and inodes back for deletions on a full disk.
//!
//! A deletion appends to the database's log. If the disk is full, the ballast is emptied, and the deletion
//! runs again. Then the log is truncated, and the ballast takes its space back. The part that the deletion
//! took for good comes back when there is room. A start on a full disk empties it too: opening the database
//! creates files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::Metadata;
use crate::space::Space;

/// The ballast of a large disk in bytes: more than the log of a deletion.
const MOST: u64 = 4 << 20;
const LEAST: u64 = 1 << 20;
/// The part of a small disk that the ballast takes.
const SHARE: u64 = 32;
/// Empty files: the log, its index, the control socket, and files of uploads.
const SPARE_INODES: u64 = 8;

/// The file beside the database, and a directory of empty files.
pub(super) struct Ballast {
    path: PathBuf,
    spare: PathBuf,
    /// Serializes filling and emptying. Whether its use was logged since it was full.
    is_used: Mutex<bool>,
}

impl Ballast {
    pub(super) fn new(path: PathBuf) -> Self {
        let spare = path.with_file_name("spare");
        Self { path, spare, is_used: Mutex::default() }
    }

    /// Whether the disk has too little space or too few inodes to open a database.
    pub(super) fn is_needed(&self) -> bool {
        let space = Space::of(self.path.parent().unwrap_or(&self.path));
        space.is_ok_and(|space| {
            space.free < LEAST || space.free_inodes.is_some_and(|free| free < SPARE_INODES)
        })
    }

    /// Whether fewer bytes of the disk are free.
    pub(super) fn has_less_than(&self, bytes: u64) -> bool {
        Space::of(self.path.parent().unwrap_or(&self.path)).is_ok_and(|space| space.free < bytes)
    }

    /// Gives its space to the disk. Returns `false` if it had none.
    pub(super) fn release(&self) -> bool {
        let mut is_used = self.is_used.lock().unwrap_or_else(PoisonError::into_inner);
        let released = File::options().write(true).open(&self.path).and_then(|file| {
            let had_space = file.metadata()?.len() > 0;
            file.set_len(0)?;
            Ok(had_space)
        });
        let removed = fs::remove_dir_all(&self.spare).is_ok();
        let released = released.unwrap_or(false) || removed;
        if released && !std::mem::replace(&mut *is_used, true) {
            tracing::warn!(
                ballast = %self.path.display(),
                "the disk is full: deletions use the space that is kept back for them"
            );
        }
        released
    }

    /// Takes its space from the disk, if there is plenty or it was used.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut is_used = self.is_used.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = self.path.parent().unwrap_or(&self.path);
        let space = Space::of(directory)?;
        let size = (space.total / SHARE).clamp(LEAST, MOST);
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        let present = file.metadata()?.len();
        self.fill_inodes(&space, *is_used)?;
        if present >= size || (space.free < 2 * size && !*is_used) {
            return Ok(());
        }
        // Zeros instead of a hole: a hole takes no space.
        let zeros = [0; 64 << 10];
        let mut missing = size - present;
        while missing > 0 {
            let part = usize::try_from(missing).unwrap_or(zeros.len()).min(zeros.len());
            // On a full disk the file keeps its written part.
            let written = file.write(&zeros[..part])?;
            missing -= written as u64;
        }
        *is_used = false;
        Ok(())
    }

    fn fill_inodes(&self, space: &Space, is_used: bool) -> io::Result<()> {
        // File systems without a fixed number of inodes report none.
        let Some(free) = space.free_inodes else { return Ok(()) };
        if self.spare.is_dir() || (free < 4 * SPARE_INODES && !is_used) {
            return Ok(());
        }
        fs::create_dir(&self.spare)?;
        for number in 1..SPARE_INODES {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(self.spare.join(number.to_string()))?;
        }
        Ok(())
    }
}

impl Metadata {
    /// Keeps space for deletions on a full disk, as far as there is space now. Blocks.
    pub fn fill_ballast(&self) {
        let Some(file) = self.file() else { return };
        if let Err(error) = file.ballast.fill() {
            tracing::debug!(%error, "the space for deletions on a full disk cannot be kept back now");
        }
    }
}
