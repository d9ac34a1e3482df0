//! The state of a fill, which one task changes and all its readers watch.

use std::sync::{Arc, OnceLock};

use store::blobs::UploadReader;
use tokio::sync::watch;

use super::error::MirrorError;

/// A blob that is being fetched.
pub(super) struct Fill {
    pub(super) progress: watch::Sender<Progress>,
    pub(super) file: OnceLock<Arc<dyn UploadReader>>,
}

/// The progress of a fill.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Whether the upstream has begun to send the blob.
    pub(super) is_begun: bool,
    /// The size of the blob, if it is known.
    pub(super) size: Option<u64>,
    /// The number of bytes that readers may have.
    pub(super) readable: u64,
    /// The size of the stored blob, or the reason of the failure.
    pub(super) end: Option<Result<u64, FillError>>,
}

/// Why a fill failed.
#[derive(Clone, Debug)]
pub(super) enum FillError {
    /// The blob cannot be had.
    Mirror(MirrorError),
    /// The bytes cannot be kept here, because the disk is full or broken. Readers go on without it.
    NotKept(String),
}

impl Fill {
    pub(super) fn new() -> Self {
        Self { progress: watch::Sender::new(Progress::default()), file: OnceLock::new() }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The growing file, once bytes are readable.
    pub(super) fn file(&self) -> Option<Arc<dyn UploadReader>> {
        self.file.get().cloned()
    }
}
