//! Links of distribution's layout: small files that hold a digest.
//!
//! ```text
//! <name>/_layers/<alg>/<hex>/link                        the repository holds this config or layer
//! <name>/_manifests/revisions/<alg>/<hex>/link           the repository holds this manifest
//! <name>/_manifests/tags/<tag>/current/link              the tag points to this manifest
//! <name>/_manifests/tags/<tag>/index/<alg>/<hex>/link    … and did so before to these
//! ```
//!
//! distribution serves a blob if its `_layers` link exists, a manifest if its `revisions` link exists, and a
//! tag by its `current` link. Its catalog lists a repository if `_layers` exists. Earlier targets of a tag
//! stay in its index.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use oci::{Digest, RepositoryName};

use crate::metadata::ViewItem;
use crate::{StoreError, permissions, regular_file};

/// Name of the directory of the configs and layers.
pub(crate) const LAYERS: &str = "_layers";
/// Name of the directory of the manifests and tags.
pub(crate) const MANIFESTS: &str = "_manifests";

/// The directory `repositories/`. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    root: PathBuf,
    /// The last sync failed. Linux then drops the dirty pages or marks them clean, so a link that reads right
    /// may be wrong on the disk.
    is_suspect: Arc<AtomicBool>,
    /// The directory, open since the first sync: `syncfs` reports only errors that happened after the open.
    sync_root: Arc<OnceLock<fs::File>>,
}

/// An idempotent change of the view.
#[derive(Debug)]
pub(super) enum Step {
    /// Writes a link.
    Write(PathBuf, Digest),
    /// Creates a directory.
    Make(PathBuf),
    /// Removes a directory and its content.
    Remove(PathBuf),
    /// Removes the directory of a repository, unless it holds links of another program or other repositories.
    RemoveRepository(PathBuf),
}

/// The result of the steps of several repositories.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Repositories whose directories were written.
    pub(super) touched: Vec<RepositoryName>,
    /// Repositories whose steps failed, with the reason.
    pub(super) blocked: Vec<(RepositoryName, String)>,
}

impl Links {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, is_suspect: Arc::default(), sync_root: Arc::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn repository(&self, repository: &RepositoryName) -> PathBuf {
        self.root.join(repository.as_str())
    }

    /// Returns the directory of an item.
    pub(super) fn directory(&self, repository: &RepositoryName, item: &ViewItem) -> PathBuf {
        let repository = self.repository(repository);
        match item {
            ViewItem::Layer(digest) => by_digest(repository.join(LAYERS), digest),
            ViewItem::Revision(digest) => by_digest(repository.join(MANIFESTS).join("revisions"), digest),
            ViewItem::Tag(tag) => repository.join(MANIFESTS).join("tags").join(tag.as_str()),
            ViewItem::Repository => repository,
        }
    }

    /// Returns the steps that link an item to `target`, or remove it.
    pub(super) fn steps(
        &self,
        repository: &RepositoryName,
        item: &ViewItem,
        target: Option<Digest>,
    ) -> Vec<Step> {
        let directory = self.directory(repository, item);
        match (item, target) {
            (ViewItem::Repository, Some(_)) => vec![],
            (ViewItem::Repository, None) => vec![Step::RemoveRepository(directory)],
            (_, None) => vec![Step::Remove(directory)],
            (ViewItem::Layer(_), Some(target)) => vec![Step::Write(directory.join("link"), target)],
            (ViewItem::Revision(_), Some(target)) => vec![
                // An index has no layers, but the catalog needs the directory.
                Step::Make(self.repository(repository).join(LAYERS)),
                Step::Write(directory.join("link"), target),
            ],
            (ViewItem::Tag(_), Some(target)) => vec![
                Step::Write(by_digest(directory.join("index"), &target).join("link"), target),
                Step::Write(directory.join("current/link"), target),
            ],
        }
    }

    /// Applies the steps in order. Returns whether one had an effect.
    pub(super) fn apply(&self, steps: &[Step]) -> Result<bool, StoreError> {
        // Create a removed view again, but not a tree that was moved away.
        let tree = self.root.parent().unwrap_or(&self.root);
        if !tree.is_dir() {
            return Err(StoreError::ContentGone(tree.to_owned()));
        }
        let mut changed = false;
        for step in steps {
            changed |= match step {
                Step::Write(link, target) => {
                    write(tree, link, target, self.is_suspect.load(Ordering::Relaxed))?
                }
                Step::Make(directory) => make(directory)?,
                Step::Remove(directory) => remove(directory)?,
                Step::RemoveRepository(directory) => self.remove_repository(directory)?,
            };
        }
        Ok(changed)
    }

    /// Applies the steps of each repository. An I/O error blocks only its own repository.
    ///
    /// # Errors
    /// On a full disk, which affects all repositories.
    pub(super) fn apply_each(&self, steps: &[(RepositoryName, Vec<Step>)]) -> Result<Applied, StoreError> {
        let mut applied = Applied::default();
        for (repository, steps) in steps {
            match self.apply(steps) {
                Ok(_) => {}
                Err(error @ StoreError::Io { .. }) => {
                    applied.blocked.push((repository.clone(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
            applied.touched.push(repository.clone());
        }
        Ok(applied)
    }

    fn remove_repository(&self, directory: &Path) -> Result<bool, StoreError> {
        let mut changed = false;
        let mut is_empty = true;
        for part in [LAYERS, MANIFESTS] {
            is_empty &= prune(&directory.join(part))?;
        }
        // distribution leaves uploads behind. They stay if links of another program stay.
        if is_empty {
            changed |= remove(&directory.join("_uploads"))?;
        }
        // Remove the directory and its empty parents.
        changed |= is_empty;
        for empty in directory.ancestors().take_while(|above| *above != self.root) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
        }
        Ok(changed)
    }

    /// Syncs all written links. After an error, [`apply`](Self::apply) writes each link again, until a sync
    /// succeeds.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let root = match self.sync_root.get() {
            Some(root) => Ok(root),
            None => fs::File::open(&self.root).map(|root| self.sync_root.get_or_init(|| root)),
        };
        let synced = root.and_then(|root| Ok(rustix::fs::syncfs(root)?));
        self.is_suspect.store(synced.is_err(), Ordering::Relaxed);
        synced.map_err(|error| StoreError::io("sync", &self.root, error))
    }
}

/// Returns the digest in a link; `None` if the link is missing or damaged.
pub(crate) fn read_link(link: &Path) -> Result<Option<Digest>, StoreError> {
    match regular_file::read(link) {
        Ok(content) => {
            let content = content.unwrap_or_default();
            Ok(std::str::from_utf8(&content).ok().and_then(|text| text.trim().parse().ok()))
        }
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(StoreError::io("read", link, error)),
    }
}

fn by_digest(directory: PathBuf, digest: &Digest) -> PathBuf {
    directory.join(digest.algorithm().as_str()).join(digest.hex())
}

/// Writes a link, unless it is right and not suspect.
fn write(tree: &Path, link: &Path, target: &Digest, is_suspect: bool) -> Result<bool, StoreError> {
    let text = target.to_string();
    // The directory is nearly always new, and then there is no link to compare.
    let is_new = link.parent().map_or(Ok(false), |parent| permissions::create_dir_below(tree, parent));
    // A correct link needs no space on a full disk.
    let is_right =
        || regular_file::read(link).is_ok_and(|content| content.as_deref() == Some(text.as_bytes()));
    if matches!(is_new, Ok(false)) && !is_suspect && is_right() {
        return Ok(false);
    }
    // One fixed name: no other task writes here. A leftover of a crash is removed, and so is a FIFO, which
    // would block.
    let unfinished = link.with_extension("unfinished");
    let _ = if is_new.is_ok() { fs::remove_file(&unfinished) } else { Ok(()) };
    let written = is_new.and_then(|_| permissions::write(&unfinished, text.as_bytes()));
    if let Err(error) = written.and_then(|()| fs::rename(&unfinished, link)) {
        let _ = fs::remove_file(&unfinished);
        return Err(StoreError::io("write", link, error));
    }
    Ok(true)
}

fn make(directory: &Path) -> Result<bool, StoreError> {
    if directory.is_dir() {
        return Ok(false);
    }
    permissions::create_dir_all(directory).map_err(|error| StoreError::io("make", directory, error))?;
    Ok(true)
}

fn remove(directory: &Path) -> Result<bool, StoreError> {
    match fs::remove_dir_all(directory) {
        Ok(()) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(StoreError::io("remove", directory, error)),
    }
}

/// Removes a directory unless a file is in or below it. Returns whether it is gone.
fn prune(directory: &Path) -> Result<bool, StoreError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(false),
        entries => entries.map_err(|error| StoreError::io("list", directory, error))?,
    };
    let mut is_empty = true;
    for entry in entries {
        let path = entry.map_err(|error| StoreError::io("list", directory, error))?.path();
        is_empty &= !path.is_symlink() && path.is_dir() && prune(&path)?;
    }
    if is_empty {
        fs::remove_dir(directory).map_err(|error| StoreError::io("remove", directory, error))?;
    }
    Ok(is_empty)
}

pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
