//! The operations, and their results.

use oci::Digest;
use proptest::prelude::*;
use registry::Error;

use crate::content::{REPOSITORIES, TAGS};

/// An operation. Numbers are indexes into [`REPOSITORIES`], [`BLOBS`], [`IMAGES`], [`TAGS`] and the open
/// uploads.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    UploadBlob {
        repository: usize,
        blob: usize,
    },
    BeginUpload {
        repository: usize,
        blob: usize,
    },
    /// Appends a chunk of this length; with `torn`, the connection breaks after it.
    AppendUpload {
        upload: usize,
        length: usize,
        torn: bool,
    },
    FinishUpload {
        upload: usize,
    },
    CancelUpload {
        upload: usize,
    },
    Mount {
        repository: usize,
        blob: usize,
        from: Option<usize>,
    },
    DeleteBlob {
        repository: usize,
        blob: usize,
    },
    PushByTag {
        repository: usize,
        image: usize,
        tag: usize,
    },
    /// Pushes by digest, and tags the image if `tag` is set.
    PushByDigest {
        repository: usize,
        image: usize,
        tag: Option<usize>,
    },
    DeleteTag {
        repository: usize,
        tag: usize,
    },
    DeleteManifest {
        repository: usize,
        image: usize,
    },
    DeleteRepository {
        repository: usize,
    },
    Restart,
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let (repository, blob, image, tag) = (0..REPOSITORIES.len(), 0..4_usize, 0..4_usize, 0..TAGS.len());
    let r = || repository.clone();
    let b = || blob.clone();
    let i = || image.clone();
    let t = || tag.clone();
    prop_oneof![
        12 => (r(), b()).prop_map(|(repository, blob)| O::UploadBlob { repository, blob }),
        3 => (r(), b()).prop_map(|(repository, blob)| O::BeginUpload { repository, blob }),
        5 => (0..3_usize, 1..200_000_usize, any::<bool>())
            .prop_map(|(upload, length, torn)| O::AppendUpload { upload, length, torn }),
        3 => (0..3_usize).prop_map(|upload| O::FinishUpload { upload }),
        1 => (0..3_usize).prop_map(|upload| O::CancelUpload { upload }),
        4 => (r(), b(), proptest::option::of(r()))
            .prop_map(|(repository, blob, from)| O::Mount { repository, blob, from }),
        2 => (r(), b()).prop_map(|(repository, blob)| O::DeleteBlob { repository, blob }),
        10 => (r(), i(), t()).prop_map(|(repository, image, tag)| O::PushByTag { repository, image, tag }),
        5 => (r(), i(), proptest::option::of(t()))
            .prop_map(|(repository, image, tag)| O::PushByDigest { repository, image, tag }),
        3 => (r(), t()).prop_map(|(repository, tag)| O::DeleteTag { repository, tag }),
        3 => (r(), i()).prop_map(|(repository, image)| O::DeleteManifest { repository, image }),
        1 => r().prop_map(|repository| O::DeleteRepository { repository }),
        1 => Just(O::Restart),
    ]
}

impl Operation {
    /// The same operation on another repository, and without effects of or on others.
    pub(crate) fn confined_to(self, only: usize) -> Option<Self> {
        use Operation as O;
        let repository = only;
        Some(match self {
            O::UploadBlob { blob, .. } => O::UploadBlob { repository, blob },
            O::BeginUpload { blob, .. } => O::BeginUpload { repository, blob },
            O::Mount { blob, .. } => O::Mount { repository, blob, from: Some(only) },
            O::DeleteBlob { blob, .. } => O::DeleteBlob { repository, blob },
            O::PushByTag { image, tag, .. } => O::PushByTag { repository, image, tag },
            O::PushByDigest { image, tag, .. } => O::PushByDigest { repository, image, tag },
            O::DeleteTag { tag, .. } => O::DeleteTag { repository, tag },
            O::DeleteManifest { image, .. } => O::DeleteManifest { repository, image },
            O::DeleteRepository { .. } => O::DeleteRepository { repository },
            O::Restart => return None,
            upload => upload,
        })
    }
}

/// The comparable part of a result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    NotMounted,
    Missing(Vec<Digest>),
    NameUnknown,
    ManifestUnknown,
    BlobUnknown,
    /// The operation names an upload that does not exist, so it did nothing.
    Skipped,
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        match error {
            Error::PartsMissing { missing, .. } => Self::Missing(missing),
            Error::NameUnknown(_) => Self::NameUnknown,
            Error::ManifestUnknown { .. } => Self::ManifestUnknown,
            Error::BlobUnknown { .. } => Self::BlobUnknown,
            error => panic!("unexpected error: {error:?}"),
        }
    }
}

pub(crate) fn outcome<T>(result: Result<T, Error>) -> Outcome {
    result.map_or_else(Outcome::from, |_| Outcome::Done)
}
