//! What is allowed, and what does it mean? The registry itself: push, pull, delete, tags,
//! referrers, search. Knows no HTTP.
//!
//! - [`manifests`], [`blobs`], [`uploads`]: the content of a repository, in and out.
//! - [`listing`]: tags, catalog, referrers, search, usage.
//! - `repositories`: deletion of whole repositories.
//! - [`check`]: whether everything that the metadata promises is there, and whole.
//! - [`access`]: who asks, and what they may do.
//! - `cache`: manifests, links and lists of tags that were asked for before, exact at every moment.
//! - `detach`: steps that a client which hangs up must not leave half done.
//! - [`tag_list`]: the list of a repository's tags as it is kept, and pages of it.
//! - `integrity`: whether stored files are what the metadata records.
//! - `upload_buffer`: what came of an upload and is not written yet.
//! - [`description`]: what an image says of itself.
//! - `remote_repositories`: repositories whose content is behind a gateway.
//! - `lifecycle`: opening, adoption, what runs beside the requests, closing.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod access;
mod adoption;
mod background;
pub mod blobs;
mod cache;
pub mod check;
pub mod description;
mod detach;
pub mod error;
mod integrity;
mod lifecycle;
pub mod listing;
pub mod manifests;
mod remote_repositories;
mod repositories;
pub mod tag_list;
pub mod uploads;

use std::sync::Arc;
use std::time::Duration;

use store::{BlobStore, Directory, Metadata};

pub use error::{Error, ReceiveError};
pub use lifecycle::Opened;
pub use store::metadata::SCHEMA_VERSION;

/// What the operator allows, and how much.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether tags, manifests and blobs may be deleted.
    pub delete: bool,
    /// Whether an index is taken although manifests that it lists are not here.
    pub sparse_indexes: bool,
    /// Whether an image is taken although its config or layers are not here.
    pub sparse_images: bool,
    /// The largest manifest, in bytes.
    pub manifest_bytes: usize,
    /// The largest blob, in bytes; `None` for no limit.
    pub blob_bytes: Option<u64>,
    /// An upload that took in nothing for this long is forgotten.
    pub upload_expiry: Duration,
    /// Memory for manifests that are answered without asking the store, in bytes.
    pub cache_bytes: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            delete: true,
            sparse_indexes: false,
            sparse_images: false,
            manifest_bytes: 8 * 1024 * 1024,
            blob_bytes: None,
            upload_expiry: Duration::from_secs(24 * 60 * 60),
            cache_bytes: 8 * 1024 * 1024,
        }
    }
}

/// A registry over one data directory. Cheap to clone: all clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    accounts: access::Accounts,
    directory: Directory,
    content: store::directory::Content,
    blobs: Arc<dyn BlobStore>,
    metadata: Metadata,
    policy: Policy,
    cache: cache::Cache,
    open_uploads: uploads::OpenUploads,
    upload_ids: uploads::UploadIds,
    background: background::Background,
}
