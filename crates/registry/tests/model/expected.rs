//! The model: what each operation does, in memory.

use std::collections::{BTreeMap, BTreeSet};

use registry::check::FaultKind;

use crate::content::{BLOBS, IMAGES, Image, REPOSITORIES, blob_digest};
use crate::operation::{Operation, Outcome};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RepositoryModel {
    pub(crate) blobs: BTreeSet<usize>,
    pub(crate) images: BTreeSet<usize>,
    pub(crate) tags: BTreeMap<usize, usize>,
}

impl RepositoryModel {
    pub(crate) fn exists(&self) -> bool {
        !self.blobs.is_empty() || !self.images.is_empty()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct OpenUpload {
    pub(crate) repository: usize,
    pub(crate) blob: usize,
    pub(crate) offset: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) repositories: [RepositoryModel; 3],
    pub(crate) uploads: Vec<OpenUpload>,
}

impl Model {
    pub(crate) fn apply(&mut self, operation: &Operation) -> Outcome {
        use Operation as O;
        match *operation {
            O::UploadBlob { repository, blob } => {
                self.repositories[repository].blobs.insert(blob);
                Outcome::Done
            }
            O::BeginUpload { repository, blob } => {
                self.uploads.push(OpenUpload { repository, blob, offset: 0 });
                Outcome::Done
            }
            O::AppendUpload { upload, length, .. } => match self.uploads.get_mut(upload) {
                Some(upload) => {
                    upload.offset = (upload.offset + length).min(BLOBS[upload.blob].len());
                    Outcome::Done
                }
                None => Outcome::Skipped,
            },
            O::FinishUpload { upload } if upload < self.uploads.len() => {
                let OpenUpload { repository, blob, .. } = self.uploads.remove(upload);
                self.repositories[repository].blobs.insert(blob);
                Outcome::Done
            }
            O::CancelUpload { upload } if upload < self.uploads.len() => {
                self.uploads.remove(upload);
                Outcome::Done
            }
            O::FinishUpload { .. } | O::CancelUpload { .. } => Outcome::Skipped,
            O::Mount { repository, blob, from } => {
                let holds = |from: &RepositoryModel| from.blobs.contains(&blob);
                let is_held = match from {
                    Some(from) => holds(&self.repositories[from]),
                    None => self.repositories.iter().any(holds),
                };
                if !is_held {
                    return Outcome::NotMounted;
                }
                self.repositories[repository].blobs.insert(blob);
                Outcome::Done
            }
            O::DeleteBlob { repository, blob } => match self.repositories[repository].blobs.remove(&blob) {
                true => Outcome::Done,
                false => Outcome::BlobUnknown,
            },
            O::PushByTag { repository, image, tag } => self.push(repository, image, Some(tag)),
            O::PushByDigest { repository, image, tag } => self.push(repository, image, tag),
            O::DeleteTag { repository, tag } => {
                let repository = &mut self.repositories[repository];
                match repository.tags.remove(&tag) {
                    Some(_) => Outcome::Done,
                    None if repository.exists() => Outcome::ManifestUnknown,
                    None => Outcome::NameUnknown,
                }
            }
            O::DeleteManifest { repository, image } => {
                let repository = &mut self.repositories[repository];
                if repository.images.remove(&image) {
                    repository.tags.retain(|_, target| *target != image);
                    Outcome::Done
                } else if repository.exists() {
                    Outcome::ManifestUnknown
                } else {
                    Outcome::NameUnknown
                }
            }
            O::DeleteRepository { repository } => {
                match std::mem::take(&mut self.repositories[repository]).exists() {
                    true => Outcome::Done,
                    false => Outcome::NameUnknown,
                }
            }
            O::Restart => Outcome::Done,
        }
    }

    /// The faults of a check: a manifest stays when a client deletes its blobs. Stored content is never
    /// damaged.
    pub(crate) fn unlinked_parts(&self) -> BTreeSet<(String, String, FaultKind)> {
        let mut faults = BTreeSet::new();
        for (name, repository) in REPOSITORIES.iter().zip(&self.repositories) {
            let parts = repository.images.iter().flat_map(|image| &IMAGES[*image].blobs);
            faults.extend(
                parts
                    .filter(|blob| !repository.blobs.contains(blob))
                    .map(|blob| ((*name).to_owned(), blob_digest(*blob).to_string(), FaultKind::NotLinked)),
            );
        }
        faults
    }

    fn push(&mut self, repository: usize, image: usize, tag: Option<usize>) -> Outcome {
        let repository = &mut self.repositories[repository];
        let Image { blobs, children, .. } = &IMAGES[image];
        let blobs =
            blobs.iter().filter(|blob| !repository.blobs.contains(blob)).map(|blob| blob_digest(*blob));
        let children = children.iter().filter(|child| !repository.images.contains(child));
        let missing: Vec<_> = blobs.chain(children.map(|child| IMAGES[*child].digest)).collect();
        if !missing.is_empty() {
            return Outcome::Missing(missing);
        }
        repository.images.insert(image);
        repository.tags.extend(tag.map(|tag| (tag, image)));
        Outcome::Done
    }
}
