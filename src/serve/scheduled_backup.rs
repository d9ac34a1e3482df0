//! Scheduled backups (`backup.directory`): makes one when it is due, and removes the oldest.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use registry::Registry;
use store::StoreError;
use tokio::sync::watch;

use crate::config::Config;
use crate::rfc3339;

/// The name of a backup is `wharfinger-<time>.backup`, so that names sort by time.
const PREFIX: &str = "wharfinger-";
const SUFFIX: &str = ".backup";
/// The wait after a failure, and between two looks at the clock, which may be set.
const RETRY: Duration = Duration::from_secs(60);

/// Makes backups for ever. A reload changes the configuration.
pub(super) async fn run(registry: Registry, mut configuration: watch::Receiver<Config>) {
    let begun = SystemTime::now();
    loop {
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
        match make(&registry, &config, &directory).await {
            Ok(path) => tracing::info!(backup = %path.display(), "made a backup"),
            Err(error) => {
                tracing::error!(%error, directory = %directory.display(), "the backup could not be made; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn make(registry: &Registry, config: &Config, directory: &Path) -> Result<PathBuf, StoreError> {
    let failed = |path: &Path, error| StoreError::io("write", path, error);
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let time = rfc3339::seconds(SystemTime::now()).replace([':', '-'], "");
    let path = directory.join(format!("{PREFIX}{time}{SUFFIX}"));
    let partial = path.with_extension("partial");
    let file = super::private_file::create_private(&partial).map_err(|error| failed(&partial, error))?;
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

/// The backups in a directory, the oldest first.
pub(super) fn backups(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
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
