//! Scheduled backups (`backup.directory`): makes one when it is due, and removes the oldest.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use registry::Registry;
use store::StoreError;
use tokio::sync::watch;

use super::private_file::{create_unfinished, remove_abandoned};
use crate::config::Config;
use crate::rfc3339;

/// The name of a backup is `wharfinger-<time>.backup`, so that names sort by time.
const PREFIX: &str = "wharfinger-";
const SUFFIX: &str = ".backup";
/// The suffix of an unfinished one.
const UNFINISHED: &str = ".partial";
/// The wait after a failure, and between two looks at the clock, which may be set.
const RETRY: Duration = Duration::from_secs(60);

/// Makes backups for ever. A reload changes the configuration.
pub(super) async fn run(registry: Registry, mut configuration: watch::Receiver<Config>) {
    let begun = SystemTime::now();
    let mut device = None;
    loop {
        if configuration.has_changed().unwrap_or(false) {
            device = None;
        }
        let config = configuration.borrow_and_update().clone();
        let now = SystemTime::now();
        let directory = config.backup.directory.clone().filter(|_| config.backup.schedule.is_some());
        let next = directory.as_deref().and_then(|directory| {
            // A time in the future is a mistake of the clock.
            let last = newest(directory).unwrap_or(begun).min(now);
            config.backup.schedule.as_ref()?.next(last)
        });
        let (Some(directory), Some(next)) = (directory, next) else {
            // No directory, no schedule, or no further time in it.
            if configuration.changed().await.is_err() {
                return;
            }
            continue;
        };
        let wait = next.duration_since(now).unwrap_or_default();
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait.min(RETRY)) => {}
                _ = configuration.changed() => {}
            }
            continue;
        }
        match make(&registry, &config, &directory, &mut device).await {
            Ok(path) => tracing::info!(backup = %path.display(), "made a backup"),
            Err(error) => {
                tracing::error!(%error, directory = %directory.display(), "the backup could not be made; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Makes a backup. `device` is the file system of the last one.
async fn make(
    registry: &Registry,
    config: &Config,
    directory: &Path,
    device: &mut Option<u64>,
) -> Result<PathBuf, StoreError> {
    let failed = |path: &Path, error| StoreError::io("write", path, error);
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    check_device(directory, device)?;
    remove_unfinished(directory);
    let time = rfc3339::seconds(SystemTime::now()).replace([':', '-'], "");
    let path = directory.join(format!("{PREFIX}{time}{SUFFIX}"));
    let partial = directory.join(format!("{PREFIX}{time}{SUFFIX}{UNFINISHED}"));
    let file = create_unfinished(&partial).map_err(|error| failed(&partial, error))?;
    let output = file.try_clone().map_err(|error| failed(&partial, error))?;
    let made = registry.backup(config.files(), io::BufWriter::new(output)).await;
    let publish = || -> io::Result<()> {
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(directory)?.sync_all()
    };
    if let Err(error) = made.and_then(|_| publish().map_err(|error| failed(&path, error))) {
        // It is incomplete.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    for old in backups(directory).iter().rev().skip(config.backup.keep) {
        if let Err(error) = fs::remove_file(old) {
            tracing::warn!(%error, backup = %old.display(), "an old backup could not be removed");
        }
    }
    Ok(path)
}

/// Refuses a directory whose volume was unmounted since the last backup.
fn check_device(directory: &Path, device: &mut Option<u64>) -> Result<(), StoreError> {
    let present = fs::metadata(directory).map_err(|error| StoreError::io("read", directory, error))?.dev();
    if *device.get_or_insert(present) == present {
        return Ok(());
    }
    Err(StoreError::Directory(format!(
        "{} is on another file system than at the last backup: mount it again, or reload the configuration to use it \
         as it is",
        directory.display()
    )))
}

/// Removes the unfinished backups of killed processes: those of the schedule, and those of `wharfinger backup
/// DIR`.
pub fn remove_unfinished(directory: &Path) {
    for path in files(directory) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX)
            && name.ends_with(UNFINISHED)
            && let Err(error) = remove_abandoned(&path)
        {
            tracing::warn!(%error, backup = %path.display(), "an unfinished backup could not be removed");
        }
    }
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The backups in a directory, the oldest first.
pub(super) fn backups(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = files(directory)
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(PREFIX) && name.ends_with(SUFFIX)
        })
        .collect();
    found.sort();
    found
}

/// The time of the newest backup.
fn newest(directory: &Path) -> Option<SystemTime> {
    fs::metadata(backups(directory).last()?).and_then(|file| file.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_without_its_volume_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut device = None;
        check_device(directory.path(), &mut device).unwrap();
        check_device(directory.path(), &mut device).unwrap();
        let refused = check_device(Path::new("/proc"), &mut device).unwrap_err().to_string();
        assert!(refused.contains("/proc is on another file system"), "{refused}");
    }
}
