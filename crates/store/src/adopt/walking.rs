//! Walking through a `repositories/` directory, one directory at a time.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::{Digest, RepositoryName, Tag};
use tokio::sync::mpsc;

use super::Problem;
use crate::StoreError;
use crate::metadata::ViewStamp;
use crate::view::{LAYERS, MANIFESTS};

/// Longer files are no links: a digest has at most 135 characters.
const MAX_LINK: u64 = 1024;

/// A directory that was read.
#[derive(Debug)]
pub(super) struct Found {
    /// Relative to `repositories/`.
    pub(super) path: String,
    /// What it looked like before it was read.
    pub(super) stamp: ViewStamp,
    /// Whether it looks as it did when it was last read.
    pub(super) is_unchanged: bool,
    /// Its links, if it is a repository's.
    pub(super) links: Option<FoundLinks>,
    /// What of it could not be read.
    pub(super) problems: Vec<Problem>,
    /// Directories in it that were there before and are not any more.
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

/// Links named by what they point to.
#[derive(Debug, Default)]
pub(super) struct FoundDigests {
    /// Those that are there, and when they were written.
    pub(super) present: Vec<(Digest, SystemTime)>,
    /// Those whose directory is there and whose link is not: `registry:2` deletes in this way.
    pub(super) unlinked: HashSet<Digest>,
    /// Those whose link is damaged, and how.
    pub(super) damaged: Vec<(Digest, String)>,
}

/// The tags of a repository.
#[derive(Debug, Default)]
pub(super) struct FoundTags {
    pub(super) present: Vec<FoundTag>,
    /// Those whose link is missing or damaged.
    pub(super) damaged: Vec<Tag>,
    /// All names, also those whose link is missing or damaged; `None` if they could not be read.
    pub(super) names: Option<HashSet<Tag>>,
}

/// A tag, and when it was last pointed somewhere.
#[derive(Debug)]
pub(super) struct FoundTag {
    pub(super) name: Tag,
    pub(super) target: Digest,
    pub(super) written: SystemTime,
}

/// Which directories are read.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What directories looked like. Those that still do are not read; all are, if this is empty.
    pub(super) stamps: HashMap<String, ViewStamp>,
    /// Those that are read again in any case.
    pub(super) suspects: HashSet<String>,
}

/// Sends each directory below `root` that is not as it is known, until nobody listens any more.
///
/// # Errors
/// If `root` itself cannot be read. What cannot be read below it is a problem of its directory.
pub(super) fn walk(root: &Path, known: &Known, found: &mpsc::Sender<Found>) -> Result<(), StoreError> {
    fs::read_dir(root).map_err(|error| StoreError::io("read", root, error))?;
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    for path in known.stamps.keys().filter(|path| !path.is_empty()) {
        children.entry(path.rsplit_once('/').map_or("", |(parent, _)| parent)).or_default().push(path);
    }
    Walk { root, known, children, found }.visit("");
    Ok(())
}

/// Reads the links of one repository, without what could not be read.
pub(super) fn read_repository(root: &Path, repository: RepositoryName) -> (FoundLinks, Vec<Problem>) {
    let mut reader = Reader { root, problems: Vec::new() };
    let links = reader.links(repository);
    (links, reader.problems)
}

struct Walk<'a> {
    root: &'a Path,
    known: &'a Known,
    /// The known directories by the one that they are in.
    children: HashMap<&'a str, Vec<&'a str>>,
    found: &'a mpsc::Sender<Found>,
}

impl Walk<'_> {
    /// Reads the directory at this path, if it has changed, and those below it. A name has 255 bytes
    /// at most, so this does not go deep, even in a circle of symbolic links.
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
                // distribution's own uploads: what is unfinished there cannot be gone on with here.
                "_uploads" => {}
                component => {
                    let child =
                        if path.is_empty() { component.to_owned() } else { format!("{path}/{component}") };
                    if child.parse::<RepositoryName>().is_err() {
                        reader.problem(child, "no repository can have this name");
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
                reader.problem(path, "there are layers or manifests without the name of a repository");
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
        // An error means that nobody listens any more; `visit` ends the walk.
        let _ = self.found.blocking_send(found);
    }
}

struct Reader<'a> {
    root: &'a Path,
    problems: Vec<Problem>,
}

/// What there is where a link should be.
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
        let tags = self.tags(&base.join(MANIFESTS).join("tags"));
        FoundLinks { repository, layers, revisions, tags }
    }

    /// The digests of the links `<alg>/<hex>/link` in a directory.
    fn digests(&mut self, directory: &Path) -> FoundDigests {
        let mut found = FoundDigests::default();
        for algorithm in self.entries(directory).unwrap_or_default() {
            for hex in self.entries(&directory.join(&algorithm)).unwrap_or_default() {
                let path = directory.join(&algorithm).join(&hex);
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else {
                    self.problem(path, "its name is no digest");
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
                self.problem(path, "its name is no tag");
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
        let mut file = match File::open(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Link::Absent),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Link::Damaged),
            file => file?,
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

    /// The names in a directory in their order; none if it is not there, and `None` if it cannot be
    /// read.
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
    /// The path as the metadata keeps it.
    pub(super) fn path_bytes(&self) -> Vec<u8> {
        self.path.as_os_str().as_bytes().to_vec()
    }
}
