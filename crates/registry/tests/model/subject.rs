//! The tested registry: carries out operations, and reads its whole state.

use accounts::Visible;
use bytes::Bytes;
use futures_util::stream;
use oci::{Algorithm, RepositoryName, Tag, TagOrDigest};
use registry::listing::TagSearch;
use registry::manifests::Push;
use registry::uploads::ChunkRange;
use registry::{Error, ReceiveError, Registry};
use tempfile::TempDir;
use uuid::Uuid;

use crate::content::{BLOBS, IMAGES, Image, TAGS, blob_digest, by_digest, by_tag, name, tag};
use crate::expected::{OpenUpload, RepositoryModel};
use crate::fixture::open;
use crate::operation::{Operation, Outcome, outcome};

/// A registry, and the open uploads of one sequence of operations.
pub(crate) struct Subject {
    pub(crate) registry: Registry,
    pub(crate) uploads: Vec<(Uuid, OpenUpload)>,
}

fn body(content: Bytes, torn: bool) -> impl registry::uploads::Body {
    let end = torn.then(|| Err(ReceiveError::Torn("connection reset".to_owned())));
    stream::iter([Ok(content)].into_iter().chain(end))
}

impl Subject {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry, uploads: Vec::new() }
    }

    pub(crate) async fn apply(&mut self, operation: &Operation, scratch: &TempDir) -> Outcome {
        use Operation as O;
        let registry = &self.registry;
        match *operation {
            O::UploadBlob { repository, blob } => {
                let content = body(BLOBS[blob].clone(), false);
                outcome(registry.upload_blob(&name(repository), blob_digest(blob), content).await)
            }
            O::BeginUpload { repository, blob } => {
                let status = registry.begin_upload(&name(repository), None, Algorithm::Sha256).await.unwrap();
                self.uploads.push((status.id, OpenUpload { repository, blob, offset: 0 }));
                Outcome::Done
            }
            O::AppendUpload { upload, length, torn } => {
                let Some((id, upload)) = self.uploads.get_mut(upload) else { return Outcome::Skipped };
                let content = BLOBS[upload.blob].slice(upload.offset..);
                let content = content.slice(..length.min(content.len()));
                if content.is_empty() {
                    return Outcome::Done;
                }
                let (first, end) = (upload.offset as u64, upload.offset + content.len());
                let range = (!torn).then_some(ChunkRange { first, last: end as u64 - 1 });
                let repository = name(upload.repository);
                let appended =
                    registry.append_upload(&repository, None, *id, range, body(content, torn)).await;
                match appended {
                    Ok(status) => assert_eq!(status.offset, end as u64),
                    Err(Error::Receive(ReceiveError::Torn(_))) if torn => {}
                    Err(error) => panic!("unexpected error: {error:?}"),
                }
                upload.offset = end;
                let status = registry.upload_status(&repository, None, *id).await.unwrap();
                assert_eq!(status.offset, end as u64);
                Outcome::Done
            }
            O::FinishUpload { upload } if upload < self.uploads.len() => {
                let (id, OpenUpload { repository, blob, offset }) = self.uploads.remove(upload);
                let rest = body(BLOBS[blob].slice(offset..), false);
                let repository = name(repository);
                outcome(registry.finish_upload(&repository, None, id, None, blob_digest(blob), rest).await)
            }
            O::CancelUpload { upload } if upload < self.uploads.len() => {
                let (id, upload) = self.uploads.remove(upload);
                outcome(registry.cancel_upload(&name(upload.repository), None, id).await)
            }
            O::FinishUpload { .. } | O::CancelUpload { .. } => Outcome::Skipped,
            O::Mount { repository, blob, from } => {
                let (repository, from) = (name(repository), from.map(name));
                let visible = Visible::Everything;
                let digest = blob_digest(blob);
                match registry.mount_blob(&repository, &digest, from.as_ref(), &visible).await.unwrap() {
                    Some(size) => {
                        assert_eq!(size, BLOBS[blob].len() as u64);
                        Outcome::Done
                    }
                    None => Outcome::NotMounted,
                }
            }
            O::DeleteBlob { repository, blob } => {
                outcome(registry.delete_blob(&name(repository), &blob_digest(blob)).await)
            }
            O::PushByTag { repository, image, tag } => {
                push(registry, repository, image, by_tag(tag), Vec::new()).await
            }
            O::PushByDigest { repository, image, tag: index } => {
                let tags = index.map(tag).into_iter().collect();
                push(registry, repository, image, by_digest(image), tags).await
            }
            O::DeleteTag { repository, tag } => {
                outcome(registry.delete_manifest(&name(repository), &by_tag(tag)).await)
            }
            O::DeleteManifest { repository, image } => {
                outcome(registry.delete_manifest(&name(repository), &by_digest(image)).await)
            }
            O::DeleteRepository { repository } => {
                outcome(registry.delete_repository(&name(repository)).await)
            }
            O::Restart => {
                self.registry.close().await;
                self.registry = open(scratch).await;
                Outcome::Done
            }
        }
    }
}

async fn push(
    registry: &Registry,
    repository: usize,
    image: usize,
    target: TagOrDigest,
    tags: Vec<Tag>,
) -> Outcome {
    let content = IMAGES[image].content.clone();
    let push = Push { repository: name(repository), target, content_type: None, content, tags };
    match registry.put_manifest(push).await {
        Ok(pushed) => {
            let subject = IMAGES[image].subject.map(|subject| IMAGES[subject].digest);
            assert_eq!((pushed.digest, pushed.subject), (IMAGES[image].digest, subject));
            Outcome::Done
        }
        Err(error) => error.into(),
    }
}

/// Reads the state of a repository through every read operation, and checks that they agree.
pub(crate) async fn read(registry: &Registry, index: usize) -> RepositoryModel {
    let repository = name(index);
    let mut state = RepositoryModel::default();
    for blob in 0..BLOBS.len() {
        match registry.blob_size(&repository, &blob_digest(blob)).await {
            Ok(size) => {
                assert_eq!(size, BLOBS[blob].len() as u64);
                state.blobs.insert(blob);
            }
            Err(error) => assert_eq!(Outcome::from(error), Outcome::BlobUnknown),
        }
    }
    for (image, Image { content, digest, .. }) in IMAGES.iter().enumerate() {
        match registry.manifest(&repository, &by_digest(image)).await {
            Ok(manifest) => {
                assert_eq!((&manifest.content, &manifest.record.digest), (content, digest));
                state.images.insert(image);
            }
            Err(error) => assert!(error.is_unknown(), "{error:?}"),
        }
    }
    for tag in 0..TAGS.len() {
        match registry.manifest(&repository, &by_tag(tag)).await {
            Ok(manifest) => {
                let is_target = |image: &Image| image.digest == manifest.record.digest;
                state.tags.insert(tag, IMAGES.iter().position(is_target).unwrap());
            }
            Err(error) => assert!(error.is_unknown(), "{error:?}"),
        }
    }
    check_lists(registry, &repository, &state).await;
    state
}

async fn check_lists(registry: &Registry, repository: &RepositoryName, state: &RepositoryModel) {
    let expected: Vec<Tag> = state.tags.keys().map(|index| tag(*index)).collect();
    match registry.tags(repository, None, 100).await {
        Ok(tags) => assert_eq!(tags.to_vec(), expected),
        Err(error) => assert_eq!((Outcome::from(error), state.exists()), (Outcome::NameUnknown, false)),
    }
    let all = TagSearch { include_hidden: true, ..TagSearch::default() };
    match registry.find_tags(repository, all, None, 100).await {
        Ok(records) => {
            let records: Vec<_> =
                records.items.into_iter().map(|record| (record.tag, record.manifest.digest)).collect();
            let expected: Vec<_> =
                state.tags.iter().map(|(index, image)| (tag(*index), IMAGES[*image].digest)).collect();
            assert_eq!(records, expected);
        }
        Err(error) => assert_eq!((Outcome::from(error), state.exists()), (Outcome::NameUnknown, false)),
    }
    let catalog = registry.catalog(&Visible::Everything, None, 100).await.unwrap().items;
    assert_eq!(catalog.contains(repository), !state.images.is_empty(), "catalog: {catalog:?}");
    for (subject, image) in IMAGES.iter().enumerate() {
        let listed = registry.referrers(repository, &image.digest, None, None, 100).await.unwrap();
        let mut expected: Vec<_> = (state.images.iter())
            .filter(|image| IMAGES[**image].subject == Some(subject))
            .map(|image| IMAGES[*image].digest)
            .collect();
        expected.sort();
        let listed: Vec<_> = listed.items.into_iter().map(|record| record.manifest.digest).collect();
        assert_eq!(listed, expected, "referrers of image {subject}");
    }
}

pub(crate) async fn read_all(registry: &Registry) -> [RepositoryModel; 3] {
    [read(registry, 0).await, read(registry, 1).await, read(registry, 2).await]
}
