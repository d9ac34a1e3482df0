//! Opens the registry of the configured data directory, and logs adopted changes.

use registry::Registry;
use store::Directory;

use super::settings::{account_settings, database, objects, policy};
use crate::config::Config;

/// Opens the registry of a data directory. The first start adopts the content of a directory of distribution.
///
/// # Errors
/// [`registry::Error`] if the directory is in use or unreadable.
pub async fn open_registry(config: &Config, directory: Directory) -> Result<Registry, registry::Error> {
    let directory = directory.with_objects(objects(config)?).with_database(database(config)?);
    open_in(config, directory).await
}

/// Opens the registry of a data directory that knows its places.
pub(super) async fn open_in(config: &Config, directory: Directory) -> Result<Registry, registry::Error> {
    let progress = |read: u64| {
        if read > 0 && read.is_multiple_of(1000) {
            tracing::info!(repositories = read, "reading what is in the data directory");
        }
    };
    // Boxed, so that the futures of all callers stay small.
    let opening = Registry::open(directory, policy(config), account_settings(config), progress);
    // A start that fails ends. Nothing is tried again, and the cause is for the operator.
    let (registry, opened) = Box::pin(opening).await.map_err(|error| match error {
        registry::Error::Unavailable(cause) => registry::Error::Store(cause),
        error => error,
    })?;
    if let Some(adopted) = &opened.adopted {
        tracing::info!(
            repositories = adopted.repositories,
            problems = adopted.problems.len(),
            "read the repositories of the data directory: it was another registry's, or its database was missing"
        );
        if adopted.deleted > 0 {
            tracing::info!(
                manifests = adopted.deleted,
                "skipped manifests that were deleted in the old registry"
            );
        }
        adopted.log_problems();
    }
    opened.changed.log_changes();
    Ok(registry)
}
