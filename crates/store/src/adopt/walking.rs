//! Walking through a `repositories/` directory, one repository at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};
use tokio::sync::mpsc;

use super::Problem;
use crate::StoreError;
use crate::view::{LAYERS, MANIFESTS, read_link};

/// The links of one repository.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) repository: RepositoryName,
    pub(super) layers: Vec<Digest>,
    pub(super) revisions: Vec<Digest>,
    pub(super) tags: Vec<FoundTag>,
    pub(super) problems: Vec<Problem>,
}

/// A tag, and when it was last pointed somewhere.
#[derive(Debug)]
pub(super) struct FoundTag {
    pub(super) name: Tag,
    pub(super) target: Digest,
    pub(super) written: SystemTime,
}

/// Sends what there is below `root`, repository by repository, until nobody listens any more.
/// Returns what was strange and belongs to no repository.
///
/// # Errors
/// If `root` itself cannot be read. What cannot be read below it is a problem of its repository.
pub(super) fn walk(root: &Path, found: &mpsc::Sender<Found>) -> Result<Vec<Problem>, StoreError> {
    fs::read_dir(root).map_err(|error| StoreError::io("read", root, error))?;
    let mut walk = Walk { root, found, problems: Vec::new() };
    walk.below("");
    Ok(walk.problems)
}

struct Walk<'a> {
    root: &'a Path,
    found: &'a mpsc::Sender<Found>,
    /// What was found since the last repository was sent.
    problems: Vec<Problem>,
}

impl Walk<'_> {
    /// Walks through the directory of this name, and those below it. A name has 255 bytes at most,
    /// so this does not go deep, even in a circle of symbolic links.
    fn below(&mut self, name: &str) {
        if self.found.is_closed() {
            return;
        }
        let mut is_repository = false;
        for entry in self.entries(Path::new(name)) {
            match entry.as_str() {
                LAYERS | MANIFESTS => is_repository = true,
                // distribution's own uploads: what is unfinished there cannot be gone on with here.
                "_uploads" => {}
                component => {
                    let below =
                        if name.is_empty() { component.to_owned() } else { format!("{name}/{component}") };
                    if below.parse::<RepositoryName>().is_err() {
                        self.problem(below, "no repository can have this name");
                    } else if self.root.join(&below).is_dir() {
                        self.below(&below);
                    } else {
                        self.problem(below, "not a directory");
                    }
                }
            }
        }
        match name.parse() {
            Ok(repository) if is_repository => self.repository(repository),
            Err(_) if is_repository => {
                self.problem(name, "there are layers or manifests without the name of a repository");
            }
            _ => {}
        }
    }

    fn repository(&mut self, repository: RepositoryName) {
        let base = Path::new(repository.as_str());
        let layers = self.digests(&base.join(LAYERS));
        let revisions = self.digests(&base.join(MANIFESTS).join("revisions"));
        let tags = self.tags(&base.join(MANIFESTS).join("tags"));
        let problems = std::mem::take(&mut self.problems);
        // An error means that nobody listens any more; `below` ends the walk.
        let _ = self.found.blocking_send(Found { repository, layers, revisions, tags, problems });
    }

    /// The digests of the links `<alg>/<hex>/link` in a directory.
    fn digests(&mut self, directory: &Path) -> Vec<Digest> {
        let mut digests = Vec::new();
        for algorithm in self.entries(directory) {
            for hex in self.entries(&directory.join(&algorithm)) {
                let path = directory.join(&algorithm).join(&hex);
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else {
                    self.problem(path, "its name is no digest");
                    continue;
                };
                match read_link(&self.root.join(&path).join("link")) {
                    Ok(Some(target)) if target == digest => digests.push(digest),
                    Ok(Some(target)) => self.problem(path, format!("its link points to {target}")),
                    Ok(None) => self.problem(path, "it holds no link"),
                    Err(error) => self.problem(path, error.to_string()),
                }
            }
        }
        digests
    }

    fn tags(&mut self, directory: &Path) -> Vec<FoundTag> {
        let mut tags = Vec::new();
        for entry in self.entries(directory) {
            let path = directory.join(&entry);
            let Ok(name) = entry.parse::<Tag>() else {
                self.problem(path, "its name is no tag");
                continue;
            };
            let link = self.root.join(&path).join("current/link");
            let written =
                fs::metadata(&link).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            match read_link(&link) {
                Ok(Some(target)) => tags.push(FoundTag { name, target, written }),
                Ok(None) => self.problem(path, "it points nowhere"),
                Err(error) => self.problem(path, error.to_string()),
            }
        }
        tags
    }

    /// The names in a directory in their order; none if it is not there.
    fn entries(&mut self, directory: &Path) -> Vec<String> {
        let read = fs::read_dir(self.root.join(directory))
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
        let entries = match read {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.problem(directory, format!("it cannot be read: {error}"));
                }
                return Vec::new();
            }
        };
        let mut names = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.into_string() {
                Ok(name) => names.push(name),
                Err(entry) => self.problem(directory.join(entry), "its name is not text"),
            }
        }
        names.sort();
        names
    }

    fn problem(&mut self, path: impl Into<PathBuf>, what: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), what: what.into() });
    }
}
