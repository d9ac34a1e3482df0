//! Repair: writes the links that the view lacks.
//!
//! Only links that another program removed need a repair. The outbox covers the registry's own changes, and
//! adoption covers added and changed links (see [`adopt`](crate::adopt)). A repair removes nothing: an
//! unknown link may be the only trace of an image.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use oci::{Digest, RepositoryName};

use super::View;
use super::links::{Links, Step, read_link};
use super::position::State;
use crate::StoreError;
use crate::blocking::blocking;
use crate::metadata::ViewItem;

/// Rows of the metadata at a time. Few in tests, so that they need several pages.
const PAGE: usize = if cfg!(test) { 16 } else { 1000 };

/// The result of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Repositories compared.
    pub repositories: u64,
    /// Missing or damaged links that were written.
    pub written: u64,
    /// Repositories whose links cannot be written, with the reason.
    pub blocked: Vec<(RepositoryName, String)>,
}

impl View {
    /// Writes all links anew, because they are older than the metadata. The old links are moved aside, into
    /// `repositories.replaced` or the first free name with a number.
    /// [`record_position`](Self::record_position) ends it, for metadata in PostgreSQL.
    ///
    /// # Errors
    /// The errors of [`repair`](Self::repair); [`StoreError::Directory`] if the links cannot be moved aside.
    pub async fn write_anew(&self) -> Result<RepairReport, StoreError> {
        let position = self.inner.position.as_ref();
        let goes_on = match position {
            Some(position) => position.is_rewriting()?,
            None => false,
        };
        if !goes_on {
            let root = self.inner.links.root().to_owned();
            blocking(move || move_aside(&root)).await?;
            if let Some(position) = position {
                // From here on, the next start goes on with the same links.
                position.record(0, State::Rewriting).await?;
            }
        }
        self.inner.metadata.forget_view().await?;
        self.repair(|_| ()).await
    }

    /// Writes all missing links. Adopt the changes of other programs first. `progress` receives the number of
    /// finished repositories.
    ///
    /// # Errors
    /// [`StoreError`] of the metadata or the file system.
    pub async fn repair(&self, progress: impl Fn(u64) + Send + Sync) -> Result<RepairReport, StoreError> {
        self.drain().await?;
        let mut report = RepairReport::default();
        if self.inner.metadata.is_shared() {
            return Ok(report);
        }
        let links = self.inner.links.clone();
        let mut after: Option<String> = None;
        loop {
            let page = self.inner.metadata.all_repositories(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.to_string());
            for repository in page {
                let turn = self.inner.turn.lock().await;
                let links = links.clone();
                let wanted = self.wanted(&repository).await?;
                let name = repository.clone();
                let repaired = blocking(move || {
                    let steps = missing(&links, &name, &wanted);
                    let count = steps.len() as u64;
                    Ok((count, links.apply_each(&[(name, steps)])?))
                });
                let (count, applied) = repaired.await?;
                drop(turn);
                if count > 0 {
                    self.record_tags_directories(&BTreeSet::from([repository])).await?;
                }
                if applied.blocked.is_empty() {
                    report.written += count;
                }
                report.blocked.extend(applied.blocked);
                report.repositories += 1;
                progress(report.repositories);
            }
        }
        blocking(move || links.sync()).await?;
        Ok(report)
    }

    /// Returns the items of a repository by their directories.
    async fn wanted(
        &self,
        repository: &RepositoryName,
    ) -> Result<HashMap<PathBuf, (ViewItem, Digest)>, StoreError> {
        let (links, metadata) = (&self.inner.links, &self.inner.metadata);
        let mut wanted = HashMap::new();
        let mut want = |item: ViewItem, target: Digest| {
            wanted.insert(links.directory(repository, &item), (item, target));
        };
        let mut after = None;
        loop {
            let page = metadata.repository_blobs(repository, after.as_ref(), PAGE).await?;
            after = page.last().copied();
            page.iter().for_each(|digest| want(ViewItem::Layer(*digest), *digest));
            if page.len() < PAGE {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = metadata.manifests(repository, after.as_ref(), PAGE).await?;
            after = page.last().map(|manifest| manifest.digest);
            page.iter().for_each(|manifest| want(ViewItem::Revision(manifest.digest), manifest.digest));
            if page.len() < PAGE {
                break;
            }
        }
        let mut after: Option<String> = None;
        loop {
            let page =
                metadata.tag_records(repository, after.as_deref(), PAGE, true).await?.unwrap_or_default();
            after = page.last().map(|record| record.tag.to_string());
            page.iter().for_each(|record| want(ViewItem::Tag(record.tag.clone()), record.manifest.digest));
            if page.len() < PAGE {
                break;
            }
        }
        Ok(wanted)
    }
}

/// Moves the links aside, unless there are none.
fn move_aside(root: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("move aside", root, error);
    if is_empty(root).map_err(failed)? {
        return Ok(());
    }
    let mut numbers = 1..;
    let mut replaced = root.with_file_name("repositories.replaced");
    while fs::exists(&replaced).map_err(failed)? {
        replaced =
            root.with_file_name(format!("repositories.replaced.{}", numbers.next().unwrap_or(u32::MAX)));
    }
    match fs::rename(root, &replaced) {
        Err(error) if matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices) => {
            Err(StoreError::Directory(format!(
                "the links in {} are older than the metadata, and cannot be moved aside, because the directory is a mount \
                 point: move its content elsewhere and start again",
                root.display()
            )))
        }
        renamed => renamed.map_err(failed),
    }
}

/// Whether a directory is absent or empty, except for `lost+found` of a new file system.
fn is_empty(root: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the steps that write missing and damaged links.
fn missing(
    links: &Links,
    repository: &RepositoryName,
    wanted: &HashMap<PathBuf, (ViewItem, Digest)>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for (item, target) in wanted.values() {
        for step in links.steps(repository, item, Some(*target)) {
            let is_right = match &step {
                Step::Write(link, target) => read_link(link).ok().flatten() == Some(*target),
                Step::Make(directory) => directory.is_dir(),
                Step::Remove(_) | Step::RemoveRepository(_) => false,
            };
            if !is_right {
                steps.push(step);
            }
        }
    }
    steps
}
