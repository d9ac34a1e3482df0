//! The way back: from a `repositories/` directory in distribution's layout to the metadata.
//!
//! Another registry's directory is adopted in this way, and a lost database is rebuilt: what is on
//! the disk is the same. Nothing is copied or written but metadata; layers are looked up in the
//! blob store, and manifests are read from it.
//!
//! Directories that served for years hold things that are damaged, or that nobody supports any
//! more. They are reported, and what is sound is taken in.

#[cfg(test)]
mod tests;
mod walking;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;

use oci::manifest::Kind;
use oci::{Digest, Manifest, Tag};
use tokio::sync::mpsc;

use crate::metadata::{Import, ManifestRecord, Part, PutManifest};
use crate::{BlobStore, Directory, Metadata, StoreError};
use walking::Found;

/// Things found that are taken in with one commit.
const BATCH: usize = 1000;
/// What claims to be a manifest and is larger than this is not read.
const MAX_MANIFEST: u64 = 32 << 20;
/// So many tags of a repository are asked for a description.
const DESCRIBING_TAGS: usize = 5;

/// What was taken in, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Repositories of which something was taken in.
    pub repositories: u64,
    /// Configs and layers, counted in each repository that holds them.
    pub blobs: u64,
    /// Manifests, counted in each repository that holds them.
    pub manifests: u64,
    /// Tags.
    pub tags: u64,
    /// What was not taken in, or is not complete.
    pub problems: Vec<Problem>,
}

/// Something that was not taken in, or is not complete.
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

/// Reads the view of `directory` into `metadata`, which may hold something already: what it
/// has stays, except that tags and descriptions become what they are in the view.
///
/// `describe` tells the description of an image, which becomes that of its repository. It is asked
/// for `latest`, and then for the tags that were written last, until one has a description.
/// `progress` hears how many repositories were read; how many there are is not known.
///
/// # Errors
/// [`StoreError`] if the directory cannot be read at all, or the metadata not be written. What is
/// wrong with single items is in the [`Report`].
pub async fn adopt<F, D>(
    directory: &Directory,
    blobs: &dyn BlobStore,
    metadata: &Metadata,
    describe: F,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Report, StoreError>
where
    F: Fn(Manifest) -> D + Send + Sync,
    D: Future<Output = Result<Option<String>, StoreError>> + Send,
{
    // The walk is a little ahead of what is read from the blob store and written to the metadata.
    let (sender, mut repositories) = mpsc::channel(4);
    let root = directory.repositories().to_owned();
    let walk = tokio::task::spawn_blocking(move || walking::walk(&root, &sender));
    let mut adoption = Adoption { blobs, metadata, describe, report: Report::default(), batch: Vec::new() };
    while let Some(found) = repositories.recv().await {
        adoption.repository(found).await?;
        progress(adoption.report.repositories);
    }
    let mut strange = walk.await.unwrap_or(Err(StoreError::Closed))?;
    adoption.report.problems.append(&mut strange);
    adoption.flush().await?;
    Ok(adoption.report)
}

struct Adoption<'a, F> {
    blobs: &'a dyn BlobStore,
    metadata: &'a Metadata,
    describe: F,
    report: Report,
    batch: Vec<Import>,
}

/// A manifest that was read.
struct Revision {
    manifest: Manifest,
    size: u64,
    tags: Vec<Tag>,
    description: Option<String>,
}

impl<F, D> Adoption<'_, F>
where
    F: Fn(Manifest) -> D + Send + Sync,
    D: Future<Output = Result<Option<String>, StoreError>> + Send,
{
    async fn repository(&mut self, found: Found) -> Result<(), StoreError> {
        let Found { repository, layers, revisions, tags, mut problems } = found;
        let mut report = |path: String, what: String| {
            problems.push(Problem { path: PathBuf::from(repository.as_str()).join(path), what });
        };
        let mut batch = Vec::new();
        let mut held = HashSet::new();
        for digest in layers {
            match self.blobs.stat(&digest).await? {
                Some(size) => {
                    held.insert(digest);
                    batch.push(Import::Blob { repository: repository.clone(), digest, size });
                }
                None => report(format!("_layers/{digest}"), "there is no such blob".into()),
            }
        }
        let mut manifests = HashMap::new();
        for digest in revisions {
            match self.manifest(&digest).await? {
                Ok(revision) => {
                    manifests.insert(digest, revision);
                }
                Err(what) => report(format!("_manifests/revisions/{digest}"), what),
            }
        }
        // Those that describe the repository best come first.
        let mut tags = tags;
        tags.sort_by_key(|tag| (tag.name != Tag::latest(), std::cmp::Reverse(tag.written)));
        let mut describing = DESCRIBING_TAGS;
        for tag in tags {
            let Some(revision) = manifests.get_mut(&tag.target) else {
                let what = format!("it points to {}, which is no manifest of the repository", tag.target);
                report(format!("_manifests/tags/{}", tag.name), what);
                continue;
            };
            if describing > 0 {
                describing -= 1;
                revision.description = (self.describe)(revision.manifest.clone()).await?;
                if revision.description.is_some() {
                    describing = 0;
                }
            }
            self.report.tags += 1;
            revision.tags.push(tag.name);
        }
        for (digest, revision) in &manifests {
            // A manifest that is listed and not there is common: one platform of many was copied.
            let blobs = revision.manifest.parts().filter(|(_, is_manifest)| !is_manifest);
            for (blob, _) in blobs.filter(|(blob, _)| !held.contains(&blob.digest)) {
                let what = format!("its part {} is not in the repository", blob.digest);
                report(format!("_manifests/revisions/{digest}"), what);
            }
        }
        self.report.blobs += batch.len() as u64;
        self.report.manifests += manifests.len() as u64;
        batch.extend(
            manifests
                .into_iter()
                .map(|(digest, revision)| Import::Manifest(Box::new(revision.into_put(&repository, digest)))),
        );
        self.report.repositories += u64::from(!batch.is_empty());
        self.report.problems.append(&mut problems);
        for found in batch {
            self.batch.push(found);
            if self.batch.len() == BATCH {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Reads a manifest; the inner error says what is wrong with it.
    async fn manifest(&self, digest: &Digest) -> Result<Result<Revision, String>, StoreError> {
        let size = match self.blobs.stat(digest).await? {
            None => return Ok(Err("there is no such blob".into())),
            Some(size) if size > MAX_MANIFEST => {
                return Ok(Err(format!("it has {size} bytes, too many for a manifest")));
            }
            Some(size) => size,
        };
        let Some(content) = self.blobs.get(digest).await? else {
            return Ok(Err("there is no such blob".into()));
        };
        if digest.algorithm().digest(&content) != *digest {
            return Ok(Err("the content does not have this digest".into()));
        }
        Ok(match Manifest::parse(&content, None) {
            Ok(manifest) => Ok(Revision { manifest, size, tags: Vec::new(), description: None }),
            Err(error) => Err(error.to_string()),
        })
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.metadata.import(std::mem::take(&mut self.batch)).await
    }
}

impl Revision {
    fn into_put(self, repository: &oci::RepositoryName, digest: Digest) -> PutManifest {
        let Self { manifest, size, tags, description } = self;
        let layers = manifest.layers.iter().map(|layer| (layer, false, !layer.may_be_elsewhere()));
        let config = manifest.config.iter().map(|config| (config, false, true));
        let manifests = manifest.manifests.iter().map(|child| (child, true, true));
        let parts = config.chain(layers).chain(manifests);
        let parts = parts.map(|(part, is_manifest, required)| Part {
            digest: part.digest,
            size: part.size,
            is_manifest,
            required,
        });
        PutManifest {
            repository: repository.clone(),
            parts: parts.collect(),
            manifest: ManifestRecord { digest, media_type: manifest.media_type, size },
            unsettled: None,
            artifact_type: manifest.artifact_type,
            annotations: manifest.annotations,
            subject: manifest.subject.map(|subject| subject.digest),
            is_index: manifest.kind == Kind::Index,
            tags,
            description,
        }
    }
}
