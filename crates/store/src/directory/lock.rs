//! The lock that keeps a second server out of a data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use rustix::fs::FlockOperation;

use super::layout::Directory;
use crate::StoreError;

/// The exclusive lock of a data directory, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    /// The lock file; `wharfinger/`, because another program may remove that file; and the content, because
    /// another path may lead to it.
    locked: Vec<File>,
}

impl Drop for Lock {
    /// A forked child has the same open files until it runs its program. Closing them alone would leave the
    /// lock to it until then.
    fn drop(&mut self) {
        for file in &self.locked {
            if let Err(error) = rustix::fs::flock(file, FlockOperation::Unlock) {
                tracing::debug!(%error, "a lock of the data directory ends with its file");
            }
        }
    }
}

impl Directory {
    /// Takes the exclusive lock.
    ///
    /// # Errors
    /// [`StoreError::Directory`] that names the process which holds it.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        match self.try_lock()? {
            Some(lock) => Ok(lock),
            None => Err(StoreError::Directory(format!(
                "{} is in use by {}",
                self.root.display(),
                self.lock_holder()
            ))),
        }
    }

    /// Takes the exclusive lock; `None` if another process holds it.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the lock file cannot be created.
    pub fn try_lock(&self) -> Result<Option<Lock>, StoreError> {
        let path = self.own.join("lock");
        let failed = |error: io::Error| StoreError::io("lock", &path, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        // The kernel frees the lock with the process, so none is ever stale. The content only names the
        // process.
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        }
        let mut lock = Lock { locked: vec![file] };
        for directory in [&self.own, self.content()] {
            let opened = match File::open(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            // NFS locks only files that are open for writing; there the lock file must do.
            let locked = rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive);
            if locked == Err(rustix::io::Errno::WOULDBLOCK) {
                return Ok(None);
            }
            lock.locked.push(opened);
        }
        // In place, which takes no space on a full disk.
        let (file, pid) = (&lock.locked[0], format!("{}\n", std::process::id()));
        file.write_all_at(pid.as_bytes(), 0)
            .and_then(|()| file.set_len(pid.len() as u64))
            .or_else(|error| if error.kind() == io::ErrorKind::StorageFull { Ok(()) } else { Err(error) })
            .map_err(failed)?;
        Ok(Some(lock))
    }

    /// Whether a command holds the lock, and not a server. Commands end by themselves.
    #[must_use]
    pub fn is_locked_by_command(&self) -> bool {
        let holder = self.lock_holder();
        matches!(self.try_lock(), Ok(None)) && holder.contains('(') && !holder.contains(" serve")
    }

    /// Describes the process that holds the lock: `process 28823 (wharfinger serve)`.
    #[must_use]
    pub fn lock_holder(&self) -> String {
        let mut text = String::new();
        let read = File::open(self.own.join("lock")).and_then(|file| file.take(32).read_to_string(&mut text));
        let Some(pid) = read.ok().and_then(|_| text.trim().parse::<u32>().ok()) else {
            return "another process".to_owned();
        };
        match command_of(pid) {
            Some(command) => format!("process {pid} ({command})"),
            None => format!("process {pid}"),
        }
    }
}

/// Returns the program and subcommand of a process, such as `wharfinger serve`.
fn command_of(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = words.next().filter(|program| !program.is_empty())?;
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    let is_subcommand = |word: &str| word.starts_with(|first: char| first.is_ascii_lowercase());
    Some(match words.next().filter(|word| is_subcommand(word)) {
        Some(subcommand) => format!("{name} {subcommand}"),
        None => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_lock_is_free_while_a_forked_child_has_its_files() {
        let data = tempfile::tempdir().unwrap();
        let directory = Directory::open(data.path()).unwrap();
        let lock = directory.lock().unwrap();
        let of_child: Vec<File> = lock.locked.iter().map(|file| file.try_clone().unwrap()).collect();
        drop(lock);
        directory.lock().unwrap();
        drop(of_child);
    }
}
