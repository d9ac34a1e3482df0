//! Directory walk of `repositories/`, one directory at a time.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};
use tokio::sync::mpsc;

use super::Problem;
use crate::metadata::{TagsDirectory, ViewStamp};
use crate::view::{LAYERS, MANIFESTS};
use crate::{StoreError, regular_file};

/// The maximum size of a link in bytes: a digest has at most 135 characters.
const MAX_LINK: u64 = 1024;

/// The content of a directory.
#[derive(Debug)]
pub(super) struct Found {
    /// Relative to `repositories/`.
    pub(super) path: String,
    /// Its stamp before it was read.
    pub(super) stamp: ViewStamp,
    /// The stamp equals the recorded one.
    pub(super) is_unchanged: bool,
    /// Its links, if it is a repository.
    pub(super) links: Option<FoundLinks>,
    /// Unreadable parts.
    pub(super) problems: Vec<Problem>,
    /// Recorded subdirectories that are gone.
    pub(super) vanished: Vec<String>,
}

/// The links of one repository.
#[derive(Debug)]
pub(super) struct FoundLinks {
    pub(super) repository: RepositoryName,
    pub(super) layers: FoundDigests,
    pub(super) revisions: FoundDigests,
    pub(super) tags: FoundTags,
}

/// Links that are named by their target.
#[derive(Debug, Default)]
pub(super) struct FoundDigests {
    /// Valid links, with their time of modification.
    pub(super) present: Vec<(Digest, SystemTime)>,
    /// Directories without a link: `registry:2` deletes in this way.
    pub(super) unlinked: HashSet<Digest>,
    /// Damaged links, with the reason.
    pub(super) damaged: Vec<(Digest, String)>,
}

#[derive(Debug, Default)]
pub(super) struct FoundTags {
    pub(super) present: Vec<FoundTag>,
    /// Tags with a missing or damaged link.
    pub(super) damaged: Vec<Tag>,
    /// All names, including damaged tags; `None` if they are unreadable.
    pub(super) names: Option<HashSet<Tag>>,
    /// The identity of their directory.
    pub(super) directory: Option<TagsDirectory>,
}

/// A tag and the modification time of its link.
#[derive(Debug)]
pub(super) struct FoundTag {
    pub(super) name: Tag,
    pub(super) target: Digest,
    pub(super) written: SystemTime,
}

/// The recorded directories.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The recorded stamps. Directories with an equal stamp are not read.
    pub(super) stamps: HashMap<String, ViewStamp>,
    /// Directories that are read in any case.
    pub(super) suspects: HashSet<String>,
}

/// Sends each changed directory below `root`, until the receiver is dropped.
///
/// # Errors
/// If `root` itself cannot be read. An unreadable path below it becomes a problem of its directory.
pub(super) fn walk(root: &Path, known: &Known, found: &mpsc::Sender<Found>) -> Result<(), StoreError> {
    fs::read_dir(root).map_err(|error| StoreError::io("read", root, error))?;
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    for path in known.stamps.keys().filter(|path| !path.is_empty()) {
        children.entry(path.rsplit_once('/').map_or("", |(parent, _)| parent)).or_default().push(path);
    }
    Walk { root, known, children, found }.visit("");
    Ok(())
}

/// Reads the links of one repository, and collects problems.
pub(super) fn read_repository(root: &Path, repository: RepositoryName) -> (FoundLinks, Vec<Problem>) {
    let mut reader = Reader { root, problems: Vec::new() };
    let links = reader.links(repository);
    (links, reader.problems)
}

struct Walk<'a> {
    root: &'a Path,
    known: &'a Known,
    /// The recorded directories by their parent.
    children: HashMap<&'a str, Vec<&'a str>>,
    found: &'a mpsc::Sender<Found>,
}

impl Walk<'_> {
    /// Reads the directory at this path, if it has changed, and those below it. A repository name has at most
    /// 255 bytes, which bounds the recursion, even in a circle of symbolic links.
    fn visit(&self, path: &str) {
        if self.found.is_closed() {
            return;
        }
        let directory = self.root.join(path);
        let before: &[&str] = self.children.get(path).map_or(&[], Vec::as_slice);
        let is_known = self.known.stamps.get(path).is_some_and(|stamp| stamp.is_still_of(&directory));
        if is_known && !self.known.suspects.contains(path) {
            before.iter().for_each(|child| self.visit(child));
            return;
        }
        let stamp = ViewStamp::of(&directory).unwrap_or_default();
        let mut reader = Reader { root: self.root, problems: Vec::new() };
        let Some(entries) = reader.entries(Path::new(path)) else {
            self.send(Found {
                path: path.to_owned(),
                stamp: ViewStamp::default(),
                is_unchanged: false,
                links: None,
                problems: reader.problems,
                vanished: Vec::new(),
            });
            return;
        };
        let mut is_repository = false;
        let mut below = Vec::new();
        for entry in entries {
            match entry.as_str() {
                LAYERS | MANIFESTS => is_repository = true,
                // Uploads of distribution cannot be resumed here.
                "_uploads" => {}
                component => {
                    let child =
                        if path.is_empty() { component.to_owned() } else { format!("{path}/{component}") };
                    if child.parse::<RepositoryName>().is_err() {
                        reader.problem(child, "not a valid repository name");
                    } else if self.root.join(&child).is_dir() {
                        below.push(child);
                    } else {
                        reader.problem(child, "not a directory");
                    }
                }
            }
        }
        let links = match path.parse() {
            Ok(repository) if is_repository => Some(reader.links(repository)),
            Err(_) if is_repository => {
                reader.problem(path, "layers or manifests outside of a repository");
                None
            }
            _ => None,
        };
        let vanished = before.iter().filter(|child| !below.iter().any(|there| there == *child));
        self.send(Found {
            path: path.to_owned(),
            is_unchanged: self.known.stamps.get(path) == Some(&stamp),
            stamp,
            links,
            problems: reader.problems,
            vanished: vanished.map(|child| (*child).to_owned()).collect(),
        });
        below.iter().for_each(|child| self.visit(child));
    }

    fn send(&self, found: Found) {
        // After an error `visit` ends the walk: the receiver is gone.
        let _ = self.found.blocking_send(found);
    }
}

struct Reader<'a> {
    root: &'a Path,
    problems: Vec<Problem>,
}

enum Link {
    To(Digest, SystemTime),
    Absent,
    Damaged,
}

impl Reader<'_> {
    fn links(&mut self, repository: RepositoryName) -> FoundLinks {
        let base = Path::new(repository.as_str());
        let layers = self.digests(&base.join(LAYERS));
        let revisions = self.digests(&base.join(MANIFESTS).join("revisions"));
        let directory = TagsDirectory::of(&self.root.join(base));
        let tags = FoundTags { directory, ..self.tags(&base.join(MANIFESTS).join("tags")) };
        FoundLinks { repository, layers, revisions, tags }
    }

    /// Reads the links `<alg>/<hex>/link` in a directory.
    fn digests(&mut self, directory: &Path) -> FoundDigests {
        let mut found = FoundDigests::default();
        for algorithm in self.entries(directory).unwrap_or_default() {
            for hex in self.entries(&directory.join(&algorithm)).unwrap_or_default() {
                let path = directory.join(&algorithm).join(&hex);
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else {
                    self.problem(path, "its name is not a digest");
                    continue;
                };
                match self.link(&path.join("link")) {
                    Ok(Link::To(target, written)) if target == digest => {
                        found.present.push((digest, written))
                    }
                    Ok(Link::To(target, _)) => {
                        found.damaged.push((digest, format!("its link points to {target}")));
                    }
                    Ok(Link::Absent) => drop(found.unlinked.insert(digest)),
                    Ok(Link::Damaged) => found.damaged.push((digest, "its link holds no digest".into())),
                    Err(error) => self.problem(path, format!("its link cannot be read: {error}")),
                }
            }
        }
        found
    }

    fn tags(&mut self, directory: &Path) -> FoundTags {
        let Some(entries) = self.entries(directory) else { return FoundTags::default() };
        let is_there = self.root.join(directory).is_dir();
        let mut found = FoundTags { names: is_there.then(HashSet::new), ..FoundTags::default() };
        for entry in entries {
            let path = directory.join(&entry);
            let Ok(name) = entry.parse::<Tag>() else {
                self.problem(path, "its name is not a valid tag");
                continue;
            };
            found.names.as_mut().map(|names| names.insert(name.clone()));
            match self.link(&path.join("current/link")) {
                Ok(Link::To(target, written)) => found.present.push(FoundTag { name, target, written }),
                Ok(Link::Absent | Link::Damaged) => found.damaged.push(name),
                Err(error) => self.problem(path, format!("its link cannot be read: {error}")),
            }
        }
        found
    }

    fn link(&self, path: &Path) -> io::Result<Link> {
        let mut file = match regular_file::open(&self.root.join(path)) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Link::Damaged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Link::Absent),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Link::Damaged),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        match file.by_ref().take(MAX_LINK).read_to_string(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Link::Damaged),
            read => read?,
        };
        Ok(match text.trim().parse() {
            Ok(digest) => Link::To(digest, file.metadata()?.modified()?),
            Err(_) => Link::Damaged,
        })
    }

    /// Returns the sorted names in a directory; none if it does not exist, `None` if it is unreadable.
    fn entries(&mut self, directory: &Path) -> Option<Vec<String>> {
        let read = fs::read_dir(self.root.join(directory))
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
        let entries = match read {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Vec::new()),
            Err(error) => {
                self.problem(directory, format!("it cannot be read: {error}"));
                return None;
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
        Some(names)
    }

    fn problem(&mut self, path: impl Into<PathBuf>, what: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), what: what.into() });
    }
}

impl Problem {
    /// Returns the path as the metadata stores it.
    pub(super) fn path_bytes(&self) -> Vec<u8> {
        self.path.as_os_str().as_bytes().to_vec()
    }
}
