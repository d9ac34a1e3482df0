//! Adoption: imports a `repositories/` directory in distribution's layout into the metadata.
//!
//! One code path adopts the directory of another registry, rebuilds a lost database, and imports the changes
//! that another program made while the server was stopped. It writes only metadata: it looks layers up in the
//! blob store and reads new manifests from it.
//!
//! The view shows the state of the metadata, except for items in the outbox (see [`view`](crate::view)). So a
//! link that differs and is not in the outbox was changed by another program, and the metadata follows it.
//!
//! Links that cannot be adopted stay on disk and are recorded ([`Metadata::view_problems`]). Their directory
//! is read again each time. A missing link or directory alone does not delete an image. These traces of
//! distribution do:
//!
//! - A digest directory without its `link`, which no tag and no image needs: deleted through the API.
//! - Neither the directory nor the content of a manifest: `garbage-collect`.
//! - No directory of a tag whose manifest has one.
//!
//! The last two count only in a `tags` directory that has held all tags of the repository
//! ([`TagsDirectory`]). In one that was made anew, after a removal by hand or on an empty file system, they
//! are absent for another reason. Several tags that leave an empty directory, while their images stay, were
//! removed by accident, and are kept.

#[cfg(test)]
mod tests;
mod walking;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use oci::manifest::Kind;
use oci::{Digest, Digester, Manifest, RepositoryName, Tag};
use tokio::sync::{Mutex, mpsc};

use crate::blocking::{Priority, blocking, blocking_at};
use crate::metadata::{Import, ManifestRecord, Part, PutManifest, RepositoryLinks, TagsDirectory, ViewItem};
use crate::{BlobStore, Directory, Metadata, StoreError};
use walking::{Found, FoundLinks, Known};

/// Imports in one commit.
const BATCH: usize = 1000;
/// The maximum size of a manifest in bytes.
const MAX_MANIFEST: u64 = 32 << 20;
/// Tags of a repository to search for a description.
const DESCRIBING_TAGS: usize = 5;
/// Problems to log line by line.
const LOGGED: usize = 100;

/// Returns the description of an image, for its repository.
pub type Describe<'a> =
    &'a (dyn Fn(Manifest) -> BoxFuture<'a, Result<Option<String>, StoreError>> + Send + Sync);

/// The directories below `repositories/` to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those with a changed stamp, with problems, or with tags that the view has not written yet.
    Changed,
    /// All of them.
    All,
    /// All of them, at low priority.
    Background,
}

/// The result of an adoption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Repositories that hold content.
    pub repositories: u64,
    /// Configs and layers, counted in each repository that holds them.
    pub blobs: u64,
    /// Manifests, counted in each repository that holds them.
    pub manifests: u64,
    /// The number of tags.
    pub tags: u64,
    /// Manifests that were deleted in the old registry.
    pub deleted: u64,
    /// Changes of another program in known repositories.
    pub changes: Vec<Change>,
    /// The number of problems that the last adoption had as well.
    pub known_problems: u64,
    /// New problems: links that were not adopted.
    pub problems: Vec<Problem>,
    /// Adopted images with missing parts.
    pub incomplete: Vec<Problem>,
    /// Served repositories whose directory is gone.
    pub without_links: Vec<String>,
    /// Repositories with served tags whose links are gone together with others, and their number.
    pub tags_without_link: Vec<(RepositoryName, usize)>,
}

/// A change of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The changed repository.
    pub repository: RepositoryName,
    /// The change in words.
    pub what: String,
}

/// A link that was not adopted, or an incomplete image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path relative to `repositories/`.
    pub path: PathBuf,
    /// The reason.
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

/// Imports the view of `directory` into `metadata`, which may be empty or not.
///
/// - `describe` returns the description of an image, for its repository. It is called for new manifests: for
///   `latest` first, then for the most recent tags, until one has a description.
/// - `progress` receives the number of repositories read so far. Their total is unknown.
/// - `turn` keeps the writer of the view from writing a link during a comparison.
///
/// # Errors
/// [`StoreError`] if the directory cannot be read or the metadata cannot be written. The [`Report`] holds the
/// problems of single links.
pub async fn adopt(
    directory: &Directory,
    blobs: &dyn BlobStore,
    metadata: &Metadata,
    scope: Scope,
    turn: Option<&Mutex<()>>,
    describe: Describe<'_>,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Report, StoreError> {
    // The walk runs ahead of the imports by a few directories.
    let (sender, mut directories) = mpsc::channel(4);
    let root = directory.repositories().to_owned();
    let problems = metadata.view_problems().await?;
    let suspects: HashSet<String> = problems.iter().map(|problem| problem.directory.clone()).collect();
    let troubled = suspects.clone();
    let mut known = Known { stamps: metadata.view_stamps().await?, suspects };
    if scope == Scope::Changed {
        // The view would overwrite a tag that another program has moved since a kill.
        let unwritten = metadata.repositories_with_unwritten_tags().await?;
        known.suspects.extend(unwritten.iter().map(ToString::to_string));
    } else {
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
    /// Logs the changes of another program, one line each, and the problems.
    pub fn log_changes(&self) {
        for Change { repository, what } in &self.changes {
            tracing::info!(%repository, change = what.as_str(), "adopted a change of another program");
        }
        for repository in &self.without_links {
            tracing::warn!(
                repository = repository.as_str(),
                "the directory of the repository is gone from repositories/, but its images are still served; \
                 `wharfinger check` writes its links again, `wharfinger rm --all` deletes it"
            );
        }
        for (repository, tags) in &self.tags_without_link {
            tracing::warn!(
                %repository,
                tags,
                "tags are gone from repositories/ together with other links, but their images are still served; \
                 `wharfinger check` writes their links again, `wharfinger rm` deletes them"
            );
        }
        self.log_problems();
    }

    /// Logs new problems line by line, and the number of all problems.
    pub fn log_problems(&self) {
        for problem in self.incomplete.iter().take(LOGGED) {
            tracing::warn!(%problem, "adopted an incomplete image");
        }
        for problem in self.problems.iter().take(LOGGED) {
            tracing::warn!(%problem, "skipped: cannot be adopted");
        }
        let problems = self.problems.len() as u64 + self.known_problems;
        if problems > 0 {
            tracing::warn!(
                problems,
                "some links below repositories/ cannot be adopted and are not served; they stay on disk, every start \
                 tries again, and `wharfinger check` lists them"
            );
        }
    }
}

/// Returns the names of the tags of a repository below `root`; none if they cannot be read.
pub(crate) fn tag_names(root: &Path, repository: RepositoryName) -> HashSet<Tag> {
    walking::read_repository(root, repository).0.tags.names.unwrap_or_default()
}

struct Adoption<'a, 'd> {
    root: PathBuf,
    blobs: &'a dyn BlobStore,
    metadata: &'a Metadata,
    turn: Option<&'a Mutex<()>>,
    /// The metadata was empty, so no import counts as a change.
    is_first: bool,
    /// The directories with earlier problems.
    troubled: HashSet<String>,
    /// The earlier problems.
    before: HashSet<(Vec<u8>, String)>,
    describe: Describe<'d>,
    report: Report,
    /// The imports to write, each with the change to report if it has an effect.
    batch: Vec<(Import, Option<Change>)>,
}

/// A manifest and its link.
struct Revision {
    manifest: Manifest,
    size: u64,
    written: SystemTime,
    description: Option<String>,
}

/// The difference between the links of a repository and the metadata.
#[derive(Default)]
struct Difference {
    imports: Vec<(Import, Option<String>)>,
    problems: Vec<Problem>,
    incomplete: Vec<Problem>,
    /// The numbers of served blobs, manifests and tags.
    served: [u64; 3],
    deleted: u64,
    /// The number of served tags without a directory.
    without_link: usize,
    /// The directory of the tags, if it holds all of them and is not recorded yet.
    tags_directory: Option<TagsDirectory>,
}

impl Adoption<'_, '_> {
    async fn directory(&mut self, found: Found) -> Result<(), StoreError> {
        let Found { path, stamp, is_unchanged, links, mut problems, vanished } = found;
        for path in vanished {
            self.report.without_links.push(path.clone());
            self.batch.push((Import::Vanished { path }, None));
        }
        let mut tags_directory = None;
        if let Some(links) = links {
            let repository = links.repository.clone();
            let mut difference = self.compare(links, problems.is_empty()).await?;
            if let Some(turn) = self.turn.filter(|_| !difference.imports.is_empty()) {
                // The view may have written links meanwhile: read them again under the lock.
                let turn = turn.lock().await;
                let (root, name) = (self.root.clone(), repository.clone());
                let (links, again) = blocking(move || Ok(walking::read_repository(&root, name))).await?;
                problems = again;
                difference = self.compare(links, problems.is_empty()).await?;
                tags_directory = difference.tags_directory.take();
                self.take(&repository, difference, &mut problems);
                self.flush().await?;
                drop(turn);
            } else {
                tags_directory = difference.tags_directory.take();
                self.take(&repository, difference, &mut problems);
            }
        }
        let is_recorded = is_unchanged && tags_directory.is_none();
        if is_recorded && problems.is_empty() && !self.troubled.contains(&path) {
            return Ok(());
        }
        let kept = problems.iter().map(|problem| (problem.path_bytes(), problem.what.clone())).collect();
        self.batch.push((Import::Directory { path, stamp, tags_directory, problems: kept }, None));
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
        let Difference { imports, problems: mut more, mut incomplete, served, deleted, without_link, .. } =
            found;
        problems.append(&mut more);
        if without_link > 0 {
            self.report.tags_without_link.push((repository.clone(), without_link));
        }
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

    /// Compares the links of a repository with the metadata. `is_whole`: all links were readable.
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
        let is_same_directory = known.tags_directory.is_some() && known.tags_directory == tags.directory;
        let revision_directories: HashSet<&Digest> =
            revisions.present.iter().map(|(digest, _)| digest).chain(&revisions.unlinked).collect();
        let linked: HashSet<&Digest> = revisions.present.iter().map(|(digest, _)| digest).collect();
        let is_written = |tag: &Tag| !is_ours(&ViewItem::Tag(tag.clone()));
        // `rm -rf tags/*` takes all tags from images that stay. No registry does that at once.
        let is_emptied = tags.names.as_ref().is_some_and(HashSet::is_empty)
            && known.tags.iter().filter(|(tag, target)| linked.contains(target) && is_written(tag)).count()
                > 1;
        // Only a tag that was removed alone leaves the directory of its manifest behind.
        let is_removed = |tag: &Tag, target: &Digest| {
            is_same_directory
                && tags.names.as_ref().is_some_and(|names| !names.contains(tag))
                && revision_directories.contains(target)
                && !(is_emptied && linked.contains(target))
        };

        let mut held = HashSet::new();
        // The sizes of files that are new here.
        let mut sizes = HashMap::new();
        let mut dangling = HashSet::new();
        for (digest, at) in &layers.present {
            if known.layers.contains(digest) {
                held.insert(*digest);
            } else if is_ours(&ViewItem::Layer(*digest)) {
                continue;
            } else {
                match self.stat(digest).await? {
                    Ok(Some(size)) => {
                        held.insert(*digest);
                        sizes.insert(*digest, size);
                        let repository = repository.clone();
                        let found = Import::Blob { repository, digest: *digest, size, at: *at };
                        difference.imports.push((found, None));
                    }
                    // distribution's garbage-collect leaves such links. They are a problem only if an image
                    // needs them.
                    Ok(None) => _ = dangling.insert(*digest),
                    Err(what) => difference.problems.push(problem(format!("_layers/{digest}"), what)),
                }
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
            // distribution's delete removes the tags of a manifest with its link. A tag that is still there,
            // or an index that lists the manifest, shows that only the link was lost.
            let is_tagged = tags.present.iter().any(|tag| tag.target == *digest)
                || known.tags.iter().any(|(tag, target)| target == digest && !is_removed(tag, target));
            let is_unlinked = revisions.unlinked.contains(digest)
                && !is_tagged
                && !self.metadata.is_needed(&repository, digest).await?;
            let is_deleted = is_unlinked
                || is_whole
                    && is_same_directory
                    && !revisions.present.iter().any(|(there, _)| there == digest)
                    && matches!(self.stat(digest).await?, Ok(None));
            if is_deleted && !is_ours(&ViewItem::Revision(*digest)) {
                removed.push(*digest);
            } else {
                served.insert(*digest);
            }
        }
        let unlinked = revisions.unlinked.iter().filter(|digest| !known.manifests.contains(digest));
        difference.deleted = unlinked.count() as u64;

        for (digest, revision) in &manifests {
            // A missing child manifest is common: a client copied one platform of several.
            let blobs = revision.manifest.parts().filter(|(_, is_manifest)| !is_manifest);
            for (blob, _) in blobs.filter(|(blob, _)| !held.contains(&blob.digest)) {
                let path = format!("_manifests/revisions/{digest}");
                let what = format!("the repository lacks its part {}", blob.digest);
                difference.incomplete.push(problem(path, what));
                if dangling.remove(&blob.digest) {
                    difference.problems.push(problem(format!("_layers/{}", blob.digest), NO_BLOB.into()));
                }
            }
        }
        // A truncated file and a manifest with a wrong size look the same.
        let mut damaged = HashSet::new();
        for (digest, revision) in &manifests {
            for (blob, is_manifest) in revision.manifest.parts() {
                let is_suspect = !is_manifest
                    && blob.size != 0
                    && sizes.get(&blob.digest).is_some_and(|size| *size != blob.size);
                if is_suspect && !damaged.contains(&blob.digest) && !self.is_intact(&blob.digest).await? {
                    damaged.insert(blob.digest);
                    let path = format!("_manifests/revisions/{digest}");
                    let what =
                        format!("the stored bytes of its part {} do not match the digest", blob.digest);
                    difference.incomplete.push(problem(path, what));
                }
            }
        }
        // `wharfinger check` repairs the damaged links of known items.
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
            difference
                .problems
                .push(problem(format!("_manifests/tags/{tag}"), "its link is missing or damaged".into()));
        }
        for digest in dangling {
            if !self.is_first && self.metadata.is_needed(&repository, &digest).await? {
                difference.problems.push(problem(format!("_layers/{digest}"), NO_BLOB.into()));
            }
        }

        // The best sources of a description come first.
        let mut present = tags.present;
        present.sort_by_key(|tag| (tag.name != Tag::latest(), std::cmp::Reverse(tag.written)));
        let mut describing = DESCRIBING_TAGS;
        let mut moved = Vec::new();
        let mut tagged = HashSet::new();
        for tag in present {
            let before = known.tags.get(&tag.name);
            // A link that is newer than our pending changes, and has none of their targets, is of another
            // program that ran after this one was killed.
            let is_newer = known
                .unwritten_tags
                .get(&tag.name)
                .is_some_and(|own| tag.written > own.at && !own.targets.contains(&tag.target));
            let is_ours = is_ours(&ViewItem::Tag(tag.name.clone())) && !is_newer;
            if before == Some(&tag.target) || is_ours {
                difference.served[2] += 1;
                continue;
            }
            if !served.contains(&tag.target) {
                if !revisions.unlinked.contains(&tag.target) {
                    let what =
                        format!("it points to {}, which is not a manifest of the repository", tag.target);
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
                is_newer,
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
        // After the blobs and manifests that it concerns.
        difference.imports.extend(damaged.into_iter().map(|digest| (Import::Damaged { digest }, None)));
        let remove = |item: ViewItem| Import::Removed { repository: repository.clone(), item };
        if let Some(names) = &tags.names {
            let absent = known.tags.iter().filter(|(tag, _)| !names.contains(*tag));
            for (tag, target) in absent.filter(|(tag, _)| !is_ours(&ViewItem::Tag((*tag).clone()))) {
                if is_removed(tag, target) {
                    let what = format!("tag {tag} was removed");
                    difference.imports.push((remove(ViewItem::Tag(tag.clone())), Some(what)));
                } else if !removed.contains(target) {
                    difference.without_link += 1;
                }
            }
            if !is_same_directory && known.has_all_tags(names) {
                difference.tags_directory.clone_from(&tags.directory);
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

    /// Returns the size of a blob. The inner error is the problem of this blob: one unreadable file or
    /// directory does not stop the adoption.
    async fn stat(&self, digest: &Digest) -> Result<Result<Option<u64>, String>, StoreError> {
        match self.blobs.stat(digest).await {
            Err(StoreError::Io { source, .. }) => Ok(Err(format!("its blob cannot be read: {source}"))),
            size => Ok(Ok(size?)),
        }
    }

    /// Reads a blob, and returns whether it matches its digest.
    async fn is_intact(&self, digest: &Digest) -> Result<bool, StoreError> {
        let Some(blob) = self.blobs.open(digest).await? else { return Ok(false) };
        let (size, mut digester) = (blob.size, Digester::new(digest.algorithm()));
        let mut chunks = blob.read(0..size);
        while let Some(chunk) = chunks.next().await {
            digester.update(&chunk?);
            // Hashing a chunk takes about 50 µs.
            tokio::task::yield_now().await;
        }
        Ok(digester.finish() == *digest)
    }

    /// Reads a manifest. The inner error is the problem of this manifest.
    async fn manifest(
        &self,
        digest: &Digest,
        written: SystemTime,
    ) -> Result<Result<Revision, String>, StoreError> {
        let size = match self.stat(digest).await? {
            Err(what) => return Ok(Err(what)),
            Ok(None) => return Ok(Err(NO_BLOB.into())),
            Ok(Some(size)) if size > MAX_MANIFEST => {
                return Ok(Err(format!("it has {size} bytes, more than the {MAX_MANIFEST} of a manifest")));
            }
            Ok(Some(size)) => size,
        };
        let content = match self.blobs.get(digest).await {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Err(NO_BLOB.into())),
            // An unreadable file does not stop the adoption.
            Err(error @ StoreError::Io { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        if digest.algorithm().digest(&content) != *digest {
            return Ok(Err("its content does not match its digest".into()));
        }
        Ok(match Manifest::parse_stored(&content) {
            Ok(manifest) => Ok(Revision { manifest, size, written, description: None }),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Returns the metadata of a manifest.
    async fn record(
        &self,
        revision: Revision,
        repository: &RepositoryName,
        digest: Digest,
    ) -> Result<PutManifest, StoreError> {
        let Revision { manifest, size, description, .. } = revision;
        let layers = manifest.layers.iter().map(|layer| (layer, false, !layer.may_be_elsewhere()));
        let config = manifest.config.iter().map(|config| (config, false, true));
        // Build caches of older builders are indexes that list blobs.
        let children = manifest.manifests.iter().map(|child| (child, child.media_type.is_manifest(), true));
        let mut parts = Vec::new();
        for (part, is_manifest, required) in config.chain(layers).chain(children) {
            // Without a size in the manifest, use the stored size.
            let size = match part.size {
                0 => self.stat(&part.digest).await?.unwrap_or(None),
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
            is_fetched: false,
        })
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (imports, changes): (Vec<_>, Vec<_>) = std::mem::take(&mut self.batch).into_iter().unzip();
        let changed = self.metadata.import(imports, self.is_first).await?;
        let changes = changes.into_iter().zip(changed).filter(|(_, changed)| *changed);
        self.report.changes.extend(changes.filter_map(|(change, _)| change));
        Ok(())
    }
}

const NO_BLOB: &str = "its blob is missing";
