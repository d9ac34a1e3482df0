//! Adoption: from a `repositories/` directory in distribution's layout to the metadata.
//!
//! Another registry's directory is adopted in this way, a lost database is rebuilt, and what another
//! program has changed while the server was stopped is taken over: one code path. Nothing is copied
//! or written but metadata; layers are looked up in the blob store, and new manifests are read from it.
//!
//! The view shows what the metadata has, except for items with a note (see [`view`](crate::view)). So a
//! link that differs and has no note was changed by another program, and the metadata follows it.
//!
//! What cannot be adopted is left as it is and recorded ([`Metadata::view_problems`]); its directory is
//! read again each time. A link or directory that is merely missing does not delete an image. Deletions
//! are taken over in the forms that distribution leaves:
//!
//! - a directory of a digest without its `link`, where no tag and no image needs it: a delete through its API,
//! - neither a directory nor the manifest's content: its `garbage-collect`,
//! - no directory of a tag, in a directory of tags that is there.

#[cfg(test)]
mod tests;
mod walking;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use oci::manifest::Kind;
use oci::{Digest, Manifest, RepositoryName};
use tokio::sync::{Mutex, mpsc};

use crate::blocking::{Priority, blocking, blocking_at};
use crate::metadata::{Import, ManifestRecord, Part, PutManifest, RepositoryLinks, ViewItem};
use crate::{BlobStore, Directory, Metadata, StoreError};
use walking::{Found, FoundLinks, Known};

/// Things found that are taken in with one commit.
const BATCH: usize = 1000;
/// What claims to be a manifest and is larger than this is not read.
const MAX_MANIFEST: u64 = 32 << 20;
/// So many tags of a repository are asked for a description.
const DESCRIBING_TAGS: usize = 5;
/// So many problems are logged line by line.
const LOGGED: usize = 100;

/// Which directories below `repositories/` are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that have changed since they were last read or written, by their stamps, and those of
    /// which something could not be adopted.
    Changed,
    /// All.
    All,
    /// All, after other work.
    Background,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Repositories of which something is served.
    pub repositories: u64,
    /// Configs and layers, counted in each repository that holds them.
    pub blobs: u64,
    /// Manifests, counted in each repository that holds them.
    pub manifests: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests that distribution had deleted before they were adopted.
    pub deleted: u64,
    /// What another program has changed in repositories that were known.
    pub changes: Vec<Change>,
    /// What was not adopted, and was so already when it was last read.
    pub known_problems: u64,
    /// What was not adopted.
    pub problems: Vec<Problem>,
    /// Images that were adopted although something of them is not there.
    pub incomplete: Vec<Problem>,
    /// Repositories whose links have gone, which are served all the same.
    pub without_links: Vec<String>,
}

/// Something that another program has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The repository.
    pub repository: RepositoryName,
    /// What was changed, for people.
    pub what: String,
}

/// Something that was not adopted, or is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was found, relative to `repositories/`.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.repository, self.what)
    }
}

/// Reads the view of `directory` into `metadata`, which may hold something already.
///
/// `describe` tells the description of an image, which becomes that of its repository. It is asked
/// for `latest`, and then for the tags that were written last, until one has a description. It is
/// asked for manifests only that are new.
/// `progress` hears how many repositories were read; how many there are is not known.
/// `turn` keeps the writer of the view from writing a link while it is compared.
///
/// # Errors
/// [`StoreError`] if the directory cannot be read at all, or the metadata not be written. What is
/// wrong with single items is in the [`Report`].
pub async fn adopt<F, D>(
    directory: &Directory,
    blobs: &dyn BlobStore,
    metadata: &Metadata,
    scope: Scope,
    turn: Option<&Mutex<()>>,
    describe: F,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Report, StoreError>
where
    F: Fn(Manifest) -> D + Send + Sync,
    D: Future<Output = Result<Option<String>, StoreError>> + Send,
{
    // The walk is a little ahead of what is read from the blob store and written to the metadata.
    let (sender, mut directories) = mpsc::channel(4);
    let root = directory.repositories().to_owned();
    let problems = metadata.view_problems().await?;
    let suspects: HashSet<String> = problems.iter().map(|problem| problem.directory.clone()).collect();
    let troubled = suspects.clone();
    let mut known = Known { stamps: metadata.view_stamps().await?, suspects };
    if scope != Scope::Changed {
        known.suspects.extend(known.stamps.keys().cloned());
    }
    let is_first = known.stamps.is_empty() && metadata.is_empty().await?;
    let priority = if scope == Scope::Background { Priority::Low } else { Priority::Ordinary };
    let walk = tokio::spawn(blocking_at(priority, {
        let root = root.clone();
        move || walking::walk(&root, &known, &sender)
    }));
    let mut adoption = Adoption {
        root,
        blobs,
        metadata,
        turn,
        is_first,
        troubled,
        before: problems.into_iter().map(|problem| (problem.path, problem.problem)).collect(),
        describe,
        report: Report::default(),
        batch: Vec::new(),
    };
    while let Some(found) = directories.recv().await {
        adoption.directory(found).await?;
        progress(adoption.report.repositories);
    }
    walk.await.unwrap_or(Err(StoreError::Closed))?;
    adoption.flush().await?;
    Ok(adoption.report)
}

impl Report {
    /// Logs what another program has changed, a line for each change, and what could not be adopted.
    pub fn log_changes(&self) {
        for Change { repository, what } in &self.changes {
            tracing::info!(%repository, change = what.as_str(), "adopted what another program has changed");
        }
        for repository in &self.without_links {
            tracing::warn!(
                repository = repository.as_str(),
                "the directory of the repository has gone from repositories/, and its images are served all the same; \
                 `wharfinger check` writes its links again, `wharfinger rm --all` deletes it"
            );
        }
        self.log_problems();
    }

    /// Logs what could not be adopted: what is new line by line, and always how much it is.
    pub fn log_problems(&self) {
        for problem in self.incomplete.iter().take(LOGGED) {
            tracing::warn!(%problem, "adopted an image of which something is missing");
        }
        for problem in self.problems.iter().take(LOGGED) {
            tracing::warn!(%problem, "could not be adopted");
        }
        let problems = self.problems.len() as u64 + self.known_problems;
        if problems > 0 {
            tracing::warn!(
                problems,
                "the adoption is incomplete: not everything below repositories/ is served; it stays as it is and is \
                 tried again at every start; `wharfinger check` lists it"
            );
        }
    }
}

struct Adoption<'a, F> {
    root: PathBuf,
    blobs: &'a dyn BlobStore,
    metadata: &'a Metadata,
    turn: Option<&'a Mutex<()>>,
    /// Nothing was known before, so that nothing is a change.
    is_first: bool,
    /// The directories that had problems before.
    troubled: HashSet<String>,
    /// These problems.
    before: HashSet<(Vec<u8>, String)>,
    describe: F,
    report: Report,
    /// What is to be written, and what to report if that changes something.
    batch: Vec<(Import, Option<Change>)>,
}

/// A manifest that was read.
struct Revision {
    manifest: Manifest,
    size: u64,
    written: SystemTime,
    description: Option<String>,
}

/// What the links of a repository say that the metadata does not.
#[derive(Default)]
struct Difference {
    imports: Vec<(Import, Option<String>)>,
    problems: Vec<Problem>,
    incomplete: Vec<Problem>,
    /// Configs and layers, manifests and tags that are served.
    served: [u64; 3],
    deleted: u64,
}

impl<F, D> Adoption<'_, F>
where
    F: Fn(Manifest) -> D + Send + Sync,
    D: Future<Output = Result<Option<String>, StoreError>> + Send,
{
    async fn directory(&mut self, found: Found) -> Result<(), StoreError> {
        let Found { path, stamp, is_unchanged, links, mut problems, vanished } = found;
        for path in vanished {
            self.report.without_links.push(path.clone());
            self.batch.push((Import::Vanished { path }, None));
        }
        if let Some(links) = links {
            let repository = links.repository.clone();
            let mut difference = self.compare(links, problems.is_empty()).await?;
            if let Some(turn) = self.turn.filter(|_| !difference.imports.is_empty()) {
                // The links may have been written since they were read: once more, while nobody writes.
                let turn = turn.lock().await;
                let (root, name) = (self.root.clone(), repository.clone());
                let (links, again) = blocking(move || Ok(walking::read_repository(&root, name))).await?;
                problems = again;
                difference = self.compare(links, problems.is_empty()).await?;
                self.take(&repository, difference, &mut problems);
                self.flush().await?;
                drop(turn);
            } else {
                self.take(&repository, difference, &mut problems);
            }
        }
        if is_unchanged && problems.is_empty() && !self.troubled.contains(&path) {
            return Ok(());
        }
        let kept = problems.iter().map(|problem| (problem.path_bytes(), problem.what.clone())).collect();
        self.batch.push((Import::Directory { path, stamp, problems: kept }, None));
        for problem in problems {
            if self.before.contains(&(problem.path_bytes(), problem.what.clone())) {
                self.report.known_problems += 1;
            } else {
                self.report.problems.push(problem);
            }
        }
        if self.batch.len() >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    fn take(&mut self, repository: &RepositoryName, found: Difference, problems: &mut Vec<Problem>) {
        let Difference { imports, problems: mut more, mut incomplete, served, deleted } = found;
        problems.append(&mut more);
        self.report.incomplete.append(&mut incomplete);
        let [blobs, manifests, tags] = served;
        self.report.repositories += u64::from(blobs + manifests > 0);
        self.report.blobs += blobs;
        self.report.manifests += manifests;
        self.report.tags += tags;
        self.report.deleted += deleted;
        for (import, what) in imports {
            let what = what.filter(|_| !self.is_first);
            self.batch.push((import, what.map(|what| Change { repository: repository.clone(), what })));
        }
    }

    /// Compares the links of a repository with the metadata. `is_whole` tells that all could be read.
    async fn compare(&self, links: FoundLinks, is_whole: bool) -> Result<Difference, StoreError> {
        let FoundLinks { repository, layers, revisions, tags } = links;
        let known = match self.is_first {
            true => RepositoryLinks::default(),
            false => self.metadata.repository_links(&repository).await?,
        };
        let mut difference = Difference::default();
        let problem = |path: String, what: String| Problem {
            path: PathBuf::from(repository.as_str()).join(path),
            what,
        };
        let is_ours = |item: &ViewItem| known.unwritten.contains(item);

        let mut held = HashSet::new();
        let mut dangling = HashSet::new();
        for (digest, at) in &layers.present {
            if known.layers.contains(digest) {
                held.insert(*digest);
            } else if is_ours(&ViewItem::Layer(*digest)) {
                continue;
            } else if let Some(size) = self.blobs.stat(digest).await? {
                held.insert(*digest);
                let found = Import::Blob { repository: repository.clone(), digest: *digest, size, at: *at };
                difference.imports.push((found, None));
            } else {
                // distribution's garbage-collect leaves such links. They matter if an image needs them.
                dangling.insert(*digest);
            }
        }

        let mut manifests: HashMap<Digest, Revision> = HashMap::new();
        let mut served: HashSet<Digest> = HashSet::new();
        for (digest, at) in &revisions.present {
            if known.manifests.contains(digest) {
                served.insert(*digest);
            } else if !is_ours(&ViewItem::Revision(*digest)) {
                match self.manifest(digest, *at).await? {
                    Ok(revision) => {
                        served.insert(*digest);
                        manifests.insert(*digest, revision);
                    }
                    Err(what) => {
                        let path = format!("_manifests/revisions/{digest}");
                        difference.problems.push(problem(path, what));
                    }
                }
            }
        }
        let mut removed = Vec::new();
        let absent: Vec<_> = known.manifests.difference(&served).copied().collect();
        for digest in &absent {
            // distribution's delete removes the tags of a manifest with its link. A tag that is still there, or an
            // index that lists the manifest, shows that only the link was lost.
            let is_tagged = tags.present.iter().any(|tag| tag.target == *digest)
                || known.tags.iter().any(|(tag, target)| {
                    target == digest && tags.names.as_ref().is_none_or(|names| names.contains(tag))
                });
            let is_unlinked = revisions.unlinked.contains(digest)
                && !is_tagged
                && !self.metadata.is_needed(&repository, digest).await?;
            let is_deleted = is_unlinked
                || is_whole
                    && tags.names.is_some()
                    && !revisions.present.iter().any(|(there, _)| there == digest)
                    && self.blobs.stat(digest).await?.is_none();
            if is_deleted && !is_ours(&ViewItem::Revision(*digest)) {
                removed.push(*digest);
            } else {
                served.insert(*digest);
            }
        }
        let unlinked = revisions.unlinked.iter().filter(|digest| !known.manifests.contains(digest));
        difference.deleted = unlinked.count() as u64;

        for (digest, revision) in &manifests {
            // A manifest that is listed and not there is common: one platform of many was copied.
            let blobs = revision.manifest.parts().filter(|(_, is_manifest)| !is_manifest);
            for (blob, _) in blobs.filter(|(blob, _)| !held.contains(&blob.digest)) {
                let path = format!("_manifests/revisions/{digest}");
                let what = format!("its part {} is not in the repository", blob.digest);
                difference.incomplete.push(problem(path, what));
                if dangling.remove(&blob.digest) {
                    difference.problems.push(problem(format!("_layers/{}", blob.digest), NO_BLOB.into()));
                }
            }
        }
        // A link of what is known is repaired by a check.
        let layers_damaged = layers.damaged.iter().filter(|(digest, _)| !known.layers.contains(digest));
        for (digest, what) in layers_damaged {
            difference.problems.push(problem(format!("_layers/{digest}"), what.clone()));
        }
        let revisions_damaged =
            revisions.damaged.iter().filter(|(digest, _)| !known.manifests.contains(digest));
        for (digest, what) in revisions_damaged {
            difference.problems.push(problem(format!("_manifests/revisions/{digest}"), what.clone()));
        }
        for tag in tags.damaged.iter().filter(|tag| !known.tags.contains_key(*tag)) {
            difference.problems.push(problem(format!("_manifests/tags/{tag}"), "it points nowhere".into()));
        }
        for digest in dangling {
            if !self.is_first && self.metadata.is_needed(&repository, &digest).await? {
                difference.problems.push(problem(format!("_layers/{digest}"), NO_BLOB.into()));
            }
        }

        // Those that describe the repository best come first.
        let mut present = tags.present;
        present.sort_by_key(|tag| (tag.name != oci::Tag::latest(), std::cmp::Reverse(tag.written)));
        let mut describing = DESCRIBING_TAGS;
        let mut moved = Vec::new();
        let mut tagged = HashSet::new();
        for tag in present {
            let before = known.tags.get(&tag.name);
            if before == Some(&tag.target) || is_ours(&ViewItem::Tag(tag.name.clone())) {
                difference.served[2] += 1;
                continue;
            }
            if !served.contains(&tag.target) {
                if !revisions.unlinked.contains(&tag.target) {
                    let what = format!("it points to {}, which is no manifest of the repository", tag.target);
                    difference.problems.push(problem(format!("_manifests/tags/{}", tag.name), what));
                }
                continue;
            }
            if let Some(revision) = manifests.get_mut(&tag.target)
                && describing > 0
            {
                describing -= 1;
                revision.description = (self.describe)(revision.manifest.clone()).await?;
                if revision.description.is_some() {
                    describing = 0;
                }
            }
            difference.served[2] += 1;
            tagged.insert(tag.target);
            let what = match before {
                Some(before) => format!("tag {} was moved from {before} to {}", tag.name, tag.target),
                None => format!("tag {} was added, {}", tag.name, tag.target),
            };
            let found = Import::Tag {
                repository: repository.clone(),
                tag: tag.name,
                target: tag.target,
                at: tag.written,
            };
            moved.push((found, Some(what)));
        }

        difference.served[0] = held.len() as u64;
        difference.served[1] = served.len() as u64;
        for (digest, revision) in manifests {
            let what = (!tagged.contains(&digest)).then(|| format!("manifest {digest} was added"));
            let at = revision.written;
            let put = Box::new(self.record(revision, &repository, digest).await?);
            difference.imports.push((Import::Manifest { put, at }, what));
        }
        difference.imports.append(&mut moved);
        let remove = |item: ViewItem| Import::Removed { repository: repository.clone(), item };
        if let Some(names) = &tags.names {
            let gone = known.tags.keys().filter(|tag| !names.contains(*tag));
            for tag in gone.filter(|tag| !is_ours(&ViewItem::Tag((*tag).clone()))) {
                let what = format!("tag {tag} was removed");
                difference.imports.push((remove(ViewItem::Tag(tag.clone())), Some(what)));
            }
        }
        for digest in removed {
            let what = format!("manifest {digest} was deleted");
            difference.imports.push((remove(ViewItem::Revision(digest)), Some(what)));
        }
        for digest in layers.unlinked.intersection(&known.layers) {
            // A blob that an image names is kept: only its link was lost.
            if !is_ours(&ViewItem::Layer(*digest)) && !self.metadata.is_needed(&repository, digest).await? {
                let what = format!("blob {digest} was deleted");
                difference.imports.push((remove(ViewItem::Layer(*digest)), Some(what)));
            }
        }
        Ok(difference)
    }

    /// Reads a manifest; the inner error says what is wrong with it.
    async fn manifest(
        &self,
        digest: &Digest,
        written: SystemTime,
    ) -> Result<Result<Revision, String>, StoreError> {
        let size = match self.blobs.stat(digest).await? {
            None => return Ok(Err(NO_BLOB.into())),
            Some(size) if size > MAX_MANIFEST => {
                return Ok(Err(format!("it has {size} bytes, too many for a manifest")));
            }
            Some(size) => size,
        };
        let content = match self.blobs.get(digest).await {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Err(NO_BLOB.into())),
            // One file that cannot be read is no reason not to adopt the others.
            Err(error @ StoreError::Io { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        if digest.algorithm().digest(&content) != *digest {
            return Ok(Err("the content does not have this digest".into()));
        }
        Ok(match Manifest::parse_stored(&content) {
            Ok(manifest) => Ok(Revision { manifest, size, written, description: None }),
            Err(error) => Err(error.to_string()),
        })
    }

    /// What the metadata keeps of a manifest.
    async fn record(
        &self,
        revision: Revision,
        repository: &RepositoryName,
        digest: Digest,
    ) -> Result<PutManifest, StoreError> {
        let Revision { manifest, size, description, .. } = revision;
        let layers = manifest.layers.iter().map(|layer| (layer, false, !layer.may_be_elsewhere()));
        let config = manifest.config.iter().map(|config| (config, false, true));
        // Caches of older builders are indexes that list blobs.
        let children = manifest.manifests.iter().map(|child| (child, child.media_type.is_manifest(), true));
        let mut parts = Vec::new();
        for (part, is_manifest, required) in config.chain(layers).chain(children) {
            // A manifest that does not say the size is right about whatever is there.
            let size = match part.size {
                0 => self.blobs.stat(&part.digest).await?,
                size => Some(size),
            };
            parts.push(Part {
                digest: part.digest,
                size: size.unwrap_or(0),
                is_manifest,
                required: required && size.is_some(),
            });
        }
        Ok(PutManifest {
            repository: repository.clone(),
            parts,
            stored_sizes: None,
            manifest: ManifestRecord { digest, media_type: manifest.media_type, size },
            journaled: None,
            artifact_type: manifest.artifact_type,
            annotations: manifest.annotations,
            subject: manifest.subject.map(|subject| subject.digest),
            is_index: manifest.kind == Kind::Index,
            tags: Vec::new(),
            description,
        })
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (imports, changes): (Vec<_>, Vec<_>) = std::mem::take(&mut self.batch).into_iter().unzip();
        let changed = self.metadata.import(imports).await?;
        let changes = changes.into_iter().zip(changed).filter(|(_, changed)| *changed);
        self.report.changes.extend(changes.filter_map(|(change, _)| change));
        Ok(())
    }
}

const NO_BLOB: &str = "there is no such blob";
