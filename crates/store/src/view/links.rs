//! Links: small files that hold a digest, and where distribution looks for them.
//!
//! ```text
//! <name>/_layers/<alg>/<hex>/link                        the repository holds this config or layer
//! <name>/_manifests/revisions/<alg>/<hex>/link           the repository holds this manifest
//! <name>/_manifests/tags/<tag>/current/link              the tag points to this manifest
//! <name>/_manifests/tags/<tag>/index/<alg>/<hex>/link    … and did so before to these
//! ```
//!
//! distribution serves a config or layer if its `_layers` link is there, a manifest if its
//! `revisions` link is, and a tag by its `current` link; and a repository is in its catalog if it
//! has the directory `_layers`. As it does itself, what a tag pointed to before stays in its index.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci::{Digest, RepositoryName};

use crate::metadata::ViewItem;
use crate::{StoreError, permissions};

/// Name of the directory of the configs and layers.
pub(crate) const LAYERS: &str = "_layers";
/// Name of the directory of the manifests and tags.
pub(crate) const MANIFESTS: &str = "_manifests";

/// The directory `repositories/`.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    root: PathBuf,
}

/// One thing to do to the view. Doing it twice does no harm.
#[derive(Debug)]
pub(super) enum Step {
    /// Make this a file with that content.
    Write(PathBuf, Digest),
    /// Make this directory, if it is not there.
    Make(PathBuf),
    /// Remove this directory, with all in it.
    Remove(PathBuf),
    /// Remove the directory of a repository, if no links are left in it that another program made;
    /// other repositories may lie below.
    RemoveRepository(PathBuf),
}

/// What came of doing the steps of several repositories.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Whether anything was not so already.
    pub(super) changed: bool,
    /// Repositories to whose directories something was done.
    pub(super) touched: Vec<RepositoryName>,
    /// Repositories whose steps failed, and why.
    pub(super) blocked: Vec<(RepositoryName, String)>,
}

impl Links {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn repository(&self, repository: &RepositoryName) -> PathBuf {
        self.root.join(repository.as_str())
    }

    /// The directory that is this item, no other's.
    pub(super) fn directory(&self, repository: &RepositoryName, item: &ViewItem) -> PathBuf {
        let repository = self.repository(repository);
        match item {
            ViewItem::Layer(digest) => by_digest(repository.join(LAYERS), digest),
            ViewItem::Revision(digest) => by_digest(repository.join(MANIFESTS).join("revisions"), digest),
            ViewItem::Tag(tag) => repository.join(MANIFESTS).join("tags").join(tag.as_str()),
            ViewItem::Repository => repository,
        }
    }

    /// What makes the item a link to `target`, or nothing.
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
                // An index has no layers, and would not be in distribution's catalog.
                Step::Make(self.repository(repository).join(LAYERS)),
                Step::Write(directory.join("link"), target),
            ],
            (ViewItem::Tag(_), Some(target)) => vec![
                Step::Write(by_digest(directory.join("index"), &target).join("link"), target),
                Step::Write(directory.join("current/link"), target),
            ],
        }
    }

    /// Does the steps in their order. Whether anything was not so already.
    pub(super) fn apply(&self, steps: &[Step]) -> Result<bool, StoreError> {
        // A tree that was moved away is not begun anew. One from which only the view was removed is.
        let tree = self.root.parent().unwrap_or(&self.root);
        if !tree.is_dir() {
            return Err(StoreError::ContentGone(tree.to_owned()));
        }
        let mut changed = false;
        for step in steps {
            changed |= match step {
                Step::Write(link, target) => write(tree, link, target)?,
                Step::Make(directory) => make(directory)?,
                Step::Remove(directory) => remove(directory)?,
                Step::RemoveRepository(directory) => self.remove_repository(directory)?,
            };
        }
        Ok(changed)
    }

    /// Does the steps of each repository. One that the system refuses holds up no other.
    ///
    /// # Errors
    /// If there is no room, which is so for all of them.
    pub(super) fn apply_each(&self, steps: Vec<(RepositoryName, Vec<Step>)>) -> Result<Applied, StoreError> {
        let mut applied = Applied::default();
        for (repository, steps) in steps {
            match self.apply(&steps) {
                Ok(changed) => applied.changed |= changed,
                Err(error @ StoreError::Io { .. }) => {
                    applied.blocked.push((repository.clone(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
            applied.touched.push(repository);
        }
        Ok(applied)
    }

    fn remove_repository(&self, directory: &Path) -> Result<bool, StoreError> {
        let mut changed = false;
        let mut is_empty = true;
        for part in [LAYERS, MANIFESTS] {
            is_empty &= prune(&directory.join(part))?;
        }
        // distribution leaves unfinished uploads. Where another program's links are left, so are they.
        if is_empty {
            changed |= remove(&directory.join("_uploads"))?;
        }
        // The directory and those above it, as far as nothing else is in them.
        changed |= is_empty;
        for empty in directory.ancestors().take_while(|above| *above != self.root) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
        }
        Ok(changed)
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let synced = fs::File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root)?));
        synced.map_err(|error| StoreError::io("sync", &self.root, error))
    }
}

/// The digest in a link. `None` if the link is not there, or does not hold a digest.
pub(crate) fn read_link(link: &Path) -> Result<Option<Digest>, StoreError> {
    match fs::read(link) {
        Ok(content) => Ok(std::str::from_utf8(&content).ok().and_then(|text| text.trim().parse().ok())),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(StoreError::io("read", link, error)),
    }
}

fn by_digest(directory: PathBuf, digest: &Digest) -> PathBuf {
    directory.join(digest.algorithm().as_str()).join(digest.hex())
}

fn write(tree: &Path, link: &Path, target: &Digest) -> Result<bool, StoreError> {
    let text = target.to_string();
    // The directory first, which is nearly always new, and then there is no link in it to look at.
    let is_new = link.parent().map_or(Ok(false), |parent| permissions::create_dir_below(tree, parent));
    // Also when the disk is full: what is right needs no room.
    if matches!(is_new, Ok(false)) && fs::read(link).is_ok_and(|content| content == text.as_bytes()) {
        return Ok(false);
    }
    // Always the same name, since nobody else writes here: what a crash leaves is used again.
    let unfinished = link.with_extension("unfinished");
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

/// Removes a directory if no file is in it or below it; whether it is gone.
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
