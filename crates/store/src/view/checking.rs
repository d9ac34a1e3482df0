//! Comparing the whole view with the metadata, and mending what differs.
//!
//! Needed only where something else has written to the view: what the registry does itself is
//! noted and made up for. The metadata is the truth, with one exception: a repository that it does
//! not know at all is reported and left, since its links may be all that tells of its images.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci::{Digest, RepositoryName, Tag};

use super::View;
use super::links::{LAYERS, Links, MANIFESTS, Step, is_absence, read_link};
use crate::StoreError;
use crate::blocking::blocking;
use crate::metadata::ViewItem;

/// Rows asked of the metadata at a time. Few in tests, so that these have several pages.
const PAGE: usize = if cfg!(test) { 16 } else { 1000 };

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Repositories compared.
    pub repositories: u64,
    /// Links that were missing or wrong, and are right now.
    pub written: u64,
    /// Links of something that is not there, which are gone now.
    pub removed: u64,
    /// Repositories in the view of which the metadata knows nothing. They were left as they are.
    pub unknown: Vec<RepositoryName>,
}

impl View {
    /// Compares all of the view with the metadata, and makes it as the metadata says. `progress`
    /// hears how many repositories are done.
    ///
    /// # Errors
    /// [`StoreError`] of the metadata or the file system.
    pub async fn check(&self, progress: impl Fn(u64) + Send + Sync) -> Result<Mended, StoreError> {
        self.drain().await?;
        let mut mended = Mended::default();
        let links = self.inner.links.clone();
        let mut after: Option<String> = None;
        loop {
            let page = self.inner.metadata.all_repositories(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.to_string());
            for repository in page {
                let turn = self.inner.turn.lock().await;
                let steps = self.steps_to_mend(&repository).await?;
                for step in &steps {
                    match step {
                        Step::Write(..) | Step::Make(_) => mended.written += 1,
                        Step::Remove(_) | Step::RemoveRepository(_) => mended.removed += 1,
                    }
                }
                let links = links.clone();
                blocking(move || links.apply(&steps)).await?;
                drop(turn);
                mended.repositories += 1;
                progress(mended.repositories);
            }
        }
        for name in blocking(move || links.sync().and_then(|()| repositories_below(links.root(), ""))).await?
        {
            if !self.inner.metadata.repository_exists(&name).await? {
                mended.unknown.push(name);
            }
        }
        mended.unknown.sort();
        Ok(mended)
    }

    /// What must be done so that the links of one repository are as the metadata has them now. The
    /// caller has the turn.
    pub(super) async fn steps_to_mend(&self, repository: &RepositoryName) -> Result<Vec<Step>, StoreError> {
        let links = self.inner.links.clone();
        let wanted = self.wanted(repository).await?;
        let repository = repository.clone();
        blocking(move || compare(&links, &repository, &wanted)).await
    }

    /// All items that a repository should have in the view, by their directories.
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

fn compare(
    links: &Links,
    repository: &RepositoryName,
    wanted: &HashMap<PathBuf, (ViewItem, Digest)>,
) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::new();
    for (item, target) in wanted.values() {
        for step in links.steps(repository, item, Some(*target)) {
            let is_right = match &step {
                Step::Write(link, target) => read_link(link)? == Some(*target),
                Step::Make(directory) => directory.is_dir(),
                Step::Remove(_) | Step::RemoveRepository(_) => false,
            };
            if !is_right {
                steps.push(step);
            }
        }
    }
    // What does not have the name of a tag or a digest was put there by someone for reasons of
    // their own, and is no link.
    let directory = links.repository(repository);
    let mut present = directories(&directory.join(MANIFESTS).join("tags"))?;
    present.retain(|tag| name_of(tag).parse::<Tag>().is_ok());
    for digests in [directory.join(LAYERS), directory.join(MANIFESTS).join("revisions")] {
        for algorithm in directories(&digests)? {
            let mut links = directories(&algorithm)?;
            links.retain(|link| {
                format!("{}:{}", name_of(&algorithm), name_of(link)).parse::<Digest>().is_ok()
            });
            present.append(&mut links);
        }
    }
    let extra = present.into_iter().filter(|directory| !wanted.contains_key(directory));
    steps.extend(extra.map(Step::Remove));
    Ok(steps)
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The repositories in the view, at any depth.
fn repositories_below(directory: &Path, name: &str) -> Result<Vec<RepositoryName>, StoreError> {
    let mut found = Vec::new();
    let mut is_repository = false;
    for below in directories(directory)? {
        match below.file_name().and_then(|component| component.to_str()) {
            Some(LAYERS | MANIFESTS) => is_repository = true,
            Some(component) if !component.starts_with('_') => {
                let name = if name.is_empty() { component.to_owned() } else { format!("{name}/{component}") };
                // What lies below a name that is none, is none either.
                if name.parse::<RepositoryName>().is_ok() {
                    found.extend(repositories_below(&below, &name)?);
                }
            }
            _ => {}
        }
    }
    if is_repository {
        found.extend(name.parse::<RepositoryName>().ok());
    }
    Ok(found)
}

/// The directories in a directory; none if it is not there.
fn directories(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        entries => entries.map_err(|error| StoreError::io("list", directory, error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| StoreError::io("list", directory, error))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}
