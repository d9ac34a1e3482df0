//! Rebuilds a lost or missing database from the directory tree: the first start on a directory of
//! `registry:2`, or a start after the database was lost.

use std::fs;
use std::path::Path;

use crate::adopt::{self, Describe, Report, Scope};
use crate::blobs::import_bucket_links;
use crate::blocking::blocking;
use crate::database_url::DatabaseUrl;
use crate::metadata::transfer::{self, DatabasePlace};
use crate::{BlobStore, Directory, Metadata, StoreError, durable};

/// The adopted metadata on their way to PostgreSQL.
const ADOPTED: &str = "metadata.adopted";

/// Creates the database of a directory that has none, from its `repositories/` tree.
///
/// The new database has a temporary name until it is complete, so an interrupted rebuild starts again.
/// Returns `None` if the directory has a database, or neither repositories nor problems.
///
/// # Errors
/// The errors of [`adopt::adopt`], and [`StoreError::Io`] if the new database cannot be put in place.
pub async fn rebuild_if_missing(
    directory: &Directory,
    blobs: &dyn BlobStore,
    describe: Describe<'_>,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Option<Report>, StoreError> {
    if let Some(url) = directory.database() {
        return rebuild_server(directory, url, blobs, describe, progress).await;
    }
    directory.check_metadata_place()?;
    let path = directory.metadata();
    if path.exists() {
        return adopted_before(directory);
    }
    import_links(directory).await?;
    let report = rebuild_file(directory, blobs, &path, describe, progress).await?;
    Ok(is_adopted(&report).then_some(report))
}

fn is_adopted(report: &Report) -> bool {
    report.repositories > 0 || !report.problems.is_empty()
}

/// Copies the links of a bucket that distribution wrote, if the directory has no content. The directory is
/// marked until the bucket belongs to its database, so that an interrupted adoption begins again.
async fn import_links(directory: &Directory) -> Result<(), StoreError> {
    let Some(settings) = directory.objects() else { return Ok(()) };
    if !directory.is_adopting(settings)? && !directory.is_without_content()? {
        return Ok(());
    }
    directory.begin_adoption(settings)?;
    let links = import_bucket_links(settings, directory.repositories()).await?;
    if links == 0 {
        return directory.end_adoption();
    }
    tracing::info!(
        links,
        bucket = settings.url,
        "read the links of the bucket, which another registry has written"
    );
    Ok(())
}

/// The result for a database that is there: an interrupted start may have adopted it.
fn adopted_before(directory: &Directory) -> Result<Option<Report>, StoreError> {
    let is_adopting = match directory.objects() {
        Some(settings) => directory.is_adopting(settings)?,
        None => false,
    };
    Ok(is_adopting.then(Report::default))
}

/// Creates the database file `path`.
async fn rebuild_file(
    directory: &Directory,
    blobs: &dyn BlobStore,
    path: &Path,
    describe: Describe<'_>,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Report, StoreError> {
    let unfinished = directory.metadata().with_extension("unfinished");
    durable::remove_database(&unfinished)?;
    let metadata = Metadata::open(&unfinished)?;
    let report = adopt::adopt(directory, blobs, &metadata, Scope::All, None, describe, progress).await?;
    metadata.close().await;
    // The marks belong to the lost database and to the temporary name.
    Metadata::accept_older(&unfinished)?;
    Metadata::accept_older(path)?;
    fs::rename(&unfinished, path).map_err(|error| StoreError::io("rename to", path, error))?;
    durable::sync(directory.own())?;
    Ok(report)
}

/// Fills an empty database in PostgreSQL with the content of another registry: first a file, which is copied
/// then in one transaction. The file stays until the database is recorded, so that an interrupted copy begins
/// again.
async fn rebuild_server(
    directory: &Directory,
    url: &DatabaseUrl,
    blobs: &dyn BlobStore,
    describe: Describe<'_>,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Option<Report>, StoreError> {
    let file = directory.own().join(ADOPTED);
    let recorded = directory.check_metadata_place()?;
    if recorded.is_some() {
        durable::remove_database(&file)?;
        return adopted_before(directory);
    }
    if !file.exists() {
        import_links(directory).await?;
        if directory.is_without_content()? || directory.metadata_lists_content()? {
            return Ok(None);
        }
    }
    // A complete file of an interrupted start is the one whose copy may be there.
    let report = match file.exists() {
        true => Report::default(),
        false => rebuild_file(directory, blobs, &file, describe, progress).await?,
    };
    let id = {
        let (source, target) =
            (DatabasePlace::File(file.clone()), DatabasePlace::Server(Box::new(url.clone())));
        blocking(move || {
            let metadata = Metadata::open(&file)?;
            transfer::copy(&source, &target, true, |_| {})?;
            Ok(metadata.id().to_owned())
        })
        .await?
    };
    directory.record_database(url, &id)?;
    durable::remove_database(&directory.own().join(ADOPTED))?;
    Ok(Some(report))
}
