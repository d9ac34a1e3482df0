//! The registry: push, pull, delete, tags, referrers, search, access control. Knows neither HTTP nor files
//! nor SQL.
//!
//! - [`manifests`], [`blobs`], [`uploads`]: the content of a repository.
//! - [`listing`]: tags, catalog, referrers, search, usage.
//! - `repositories`: deletion of whole repositories.
//! - [`check`]: compares metadata, stored files and the view, and repairs them.
//! - [`collection`]: garbage collection and erasure.
//! - [`access`]: authentication and authorization.
//! - `cache`: cache of manifests, tags, blob links and tag lists, invalidated by each change.
//! - `detach`: operations that continue if the client disconnects.
//! - [`records`]: the types of results.
//! - [`mirror`]: the pull-through cache of other registries.
//! - [`tag_list`]: a cached list of tags, and pages of it.
//! - `integrity`: compares stored files with the metadata.
//! - [`events`], [`webhooks`]: the event stream, and the queue of deliveries.
//! - [`description`]: the description of an image for search results.
//! - `pulls`: pull counts, kept in memory and written in batches.
//! - [`backup`]: the metadata and the keys as one file.
//! - [`relocation`]: moves to other places of blobs and metadata.
//! - `metrics`: counters and gauges for a scrape.
//! - `remote_repositories`: the catalog of a gateway.
//! - [`rules`], `retention`, `quotas`, `reserve`, `history`: immutable tags, deletion of old tags, limits on
//!   space, undo.
//! - `lifecycle`, `background`, `adoption`: open and close, background tasks, changes by other programs.
//! - `blob_copies`: removes copies of deleted blobs of a bucket.
//! - `shipping`: ships the database to the bucket of the blobs.
//! - [`networks`], [`Redirect`]: networks of clients, and the downloads that go to the bucket.
//! - `storage_state`, `storage_watch`: whether the storage takes content, and a log line when that changes.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod access;
mod adoption;
mod background;
pub mod backup;
mod blob_copies;
pub mod blobs;
mod cache;
pub mod check;
pub mod collection;
pub mod description;
mod detach;
pub mod error;
pub mod events;
mod history;
mod integrity;
mod job_kind;
mod large_manifests;
mod lifecycle;
pub mod listing;
pub mod manifests;
mod metrics;
pub mod mirror;
pub mod networks;
mod pulls;
mod quotas;
pub mod records;
mod redirect;
pub mod relocation;
mod remote_repositories;
mod repositories;
mod reserve;
mod retention;
pub mod rules;
mod shipping;
mod sizes;
mod storage_state;
mod storage_watch;
mod sync;
mod tag_deletion;
pub mod tag_list;
mod tag_lookups;
pub mod uploads;
mod warn_limit;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use store::{BlobStore, Directory, Metadata};

pub use error::{Error, ReceiveError};
pub use job_kind::JobKind;
pub use lifecycle::Opened;
pub use redirect::Redirect;
pub use reserve::Reserve;
pub use retention::{RetainedDeletion, RetentionPolicy, RetentionReport, RuleOrigin};
pub use storage_state::DiskState;
pub use store::metadata::SCHEMA_VERSION;
pub use warn_limit::WarnLimit;

/// The operator's rules and limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Whether clients may delete tags, manifests and blobs.
    pub delete: bool,
    /// Whether an index may list manifests that the repository lacks.
    pub sparse_indexes: bool,
    /// Whether an image may name a config or layers that the repository lacks.
    pub sparse_images: bool,
    /// Which clients read blobs from the object store by themselves.
    pub redirect: Redirect,
    /// The interval at which the database is shipped to the bucket of the blobs. `None` for never.
    pub ship_metadata: Option<Duration>,
    /// The maximum size of a manifest in bytes.
    pub manifest_bytes: usize,
    /// The maximum size of a blob in bytes.
    pub blob_bytes: Option<u64>,
    /// The idle timeout of an upload, after which it is removed.
    pub upload_expiry: Duration,
    /// The size of the manifest cache in bytes.
    pub cache_bytes: u64,
    /// The interval of the scheduled check. `None` for none.
    pub check_interval: Option<Duration>,
    /// The bytes per second that a check reads at most.
    pub check_read_rate: Option<u64>,
    /// The free space that uploads leave.
    pub reserve: Reserve,
    /// Rules on tags, and quotas.
    pub rules: Arc<rules::Rules>,
    /// Deletion of old tags.
    pub retention: RetentionPolicy,
    /// When garbage is collected.
    pub garbage: collection::GarbagePolicy,
    /// The time for which the event stream keeps events; zero for none.
    pub event_retention: Duration,
    /// One of this number of pulls is an event; 0 for none.
    pub pull_events: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            delete: true,
            sparse_indexes: false,
            sparse_images: false,
            redirect: Redirect::Never,
            ship_metadata: None,
            manifest_bytes: 8 * 1024 * 1024,
            blob_bytes: None,
            upload_expiry: Duration::from_secs(24 * 60 * 60),
            cache_bytes: 8 * 1024 * 1024,
            check_interval: None,
            check_read_rate: None,
            reserve: Reserve::Bytes(0),
            rules: Arc::default(),
            retention: RetentionPolicy::default(),
            garbage: collection::GarbagePolicy::default(),
            event_retention: Duration::from_secs(24 * 60 * 60),
            pull_events: 0,
        }
    }
}

/// A registry over one data directory. Clones share one state.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    /// Records the actor of [`Registry::acting_as`].
    metadata: Metadata,
}

struct Inner {
    accounts: access::Accounts,
    directory: Directory,
    content: store::directory::Content,
    blobs: Arc<dyn BlobStore>,
    blob_store_error: storage_state::BlobStoreError,
    /// `None` if the database is not shipped.
    shipping: Option<store::shipping::Shipping>,
    policy: arc_swap::ArcSwap<Policy>,
    /// Tells background tasks about another policy.
    policy_changed: tokio::sync::watch::Sender<()>,
    cache: Arc<cache::Cache>,
    collector: collection::Collector,
    guards: collection::guards::Guards,
    schedule: collection::Schedule,
    event_queue: events::EventQueue,
    open_uploads: uploads::OpenUploads,
    unfinished: uploads::Unfinished,
    pulls: pulls::Pulls,
    tag_lookups: tag_lookups::TagLookups,
    free_space: storage_state::FreeSpace,
    /// The manifests beyond the cache that requests read.
    large_manifests: large_manifests::LargeManifests,
    /// Held by a run of the retention.
    retention: tokio::sync::Mutex<()>,
    upload_ids: uploads::UploadIds,
    background: background::Background,
    metrics: metrics::RegistryMetrics,
    detached: detach::Detached,
    read_limit: check::ReadLimit,
    /// Held by the running check.
    checking: tokio::sync::Mutex<()>,
    verdicts: integrity::Verdicts,
    /// Held while a backup is made.
    backup: tokio::sync::Mutex<()>,
}
