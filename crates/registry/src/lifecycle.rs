//! The lifecycle of a registry: opening a data directory, and closing it.

use std::sync::Arc;
use std::time::Duration;

use accounts::Actor;
use arc_swap::ArcSwap;
use store::adopt::Report;
use store::blob_journal::BlobJournal;
use store::blobs::Claim;
use store::rebuild::rebuild_if_missing;
use store::view::View;
use store::{Directory, StoreError};
use tokio::sync::watch;

use crate::access::{AccountSettings, Accounts};
use crate::adoption::adopt_at_start;
use crate::background::Background;
use crate::check::ReadLimit;
use crate::collection::guards::Guards;
use crate::collection::{Collector, Schedule};
use crate::detach::Detached;
use crate::events::EventQueue;
use crate::integrity::Verdicts;
use crate::large_manifests::LargeManifests;
use crate::metrics::RegistryMetrics;
use crate::pulls::Pulls;
use crate::reserve::FreeSpace;
use crate::storage_watch::BlobStoreError;
use crate::tag_lookups::TagLookups;
use crate::uploads::{OpenUploads, Unfinished, UploadIds};
use crate::{Error, Inner, Policy, Registry, cache::Cache, description};

/// The time for operations without a client to end.
const DETACHED_TIMEOUT: Duration = Duration::from_secs(3);

/// The result of opening a directory.
#[derive(Debug, Default)]
pub struct Opened {
    /// The content of `repositories/`, if the database was missing: a directory of `registry:2`, or a lost database.
    pub adopted: Option<Report>,
    /// Changes that other programs made since the directory was last open.
    pub changed: Report,
}

impl Registry {
    /// Opens the registry of a data directory.
    ///
    /// A directory without a database is adopted first: its `repositories/` are read, and no content is copied.
    /// `progress` receives the number of repositories read so far.
    ///
    /// # Errors
    /// [`Error::Store`] if the directory is in use or damaged, [`Error::Htpasswd`] if the htpasswd file is unusable.
    pub async fn open(
        directory: Directory,
        policy: Policy,
        accounts: AccountSettings,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(Self, Opened), Error> {
        let lock = directory.lock()?;
        let blobs = directory.open_blobs()?;
        let describe = |manifest: oci::Manifest| {
            let blobs = blobs.clone();
            async move { description::of(&manifest, &*blobs).await }
        };
        let adopted = rebuild_if_missing(&directory, &*blobs, describe, progress).await?;
        let metadata = directory.open_metadata()?;
        let holds_content = metadata.holds_content().await?;
        let content = directory.claim_content(metadata.id(), adopted.is_some(), holds_content)?;
        let claim = match (&adopted, holds_content) {
            (Some(_), _) => Claim::Rebuilt,
            (None, true) => Claim::Existing,
            (None, false) => Claim::New,
        };
        blobs.claim(metadata.id(), claim).await?;
        directory.record_blob_place()?;
        metadata.mark_accounts_beside(directory.content())?;
        metadata.obey(policy.rules.clone()).await?;
        let has_external_accounts = accounts.htpasswd.is_some() || accounts.forward;
        let accounts = Accounts::open(metadata.clone(), accounts).await?;
        if has_external_accounts {
            // Without the setting, the registry must not open: its accounts may not have signed in yet.
            metadata.mark_accounts()?;
        }
        let upload_ids = UploadIds::new(&metadata.upload_secret().await?);
        let unfinished = metadata.unfinished_uploads().await?;
        let known = unfinished.iter().map(|upload| upload.id).collect();
        let stale = blobs.remove_stale_uploads(&known).await?;
        if stale > 0 {
            tracing::info!(uploads = stale, "removed files of unfinished uploads");
        }
        let blob_journal = BlobJournal::new(blobs.clone(), metadata.clone());
        replay(&blob_journal).await?;
        let view = View::new(&directory, metadata.clone(), blob_journal);
        let adopted_now = adopted.is_some();
        let changed = match adopted {
            Some(_) => Report::default(),
            None => adopt_at_start(&view, &directory, &*blobs).await?,
        };
        let cache = Arc::new(Cache::new(policy.cache_bytes));
        metadata.on_commit({
            let cache = cache.clone();
            move |commit| cache.invalidate(&commit.changes)
        });
        let registry = Self {
            inner: Arc::new(Inner {
                cache,
                detached: Detached::default(),
                read_limit: ReadLimit::new(policy.check_read_rate),
                checking: tokio::sync::Mutex::default(),
                verdicts: Verdicts::default(),
                event_queue: EventQueue::new(),
                accounts,
                directory,
                content,
                blobs,
                blob_store_error: BlobStoreError::default(),
                policy: ArcSwap::from_pointee(policy),
                policy_changed: watch::Sender::new(()),
                collector: Collector::default(),
                guards: Guards::default(),
                schedule: Schedule::default(),
                open_uploads: OpenUploads::default(),
                unfinished: Unfinished::new(&unfinished),
                pulls: Pulls::default(),
                tag_lookups: TagLookups::default(),
                free_space: FreeSpace::default(),
                large_manifests: LargeManifests::default(),
                retention: tokio::sync::Mutex::default(),
                upload_ids,
                background: Background::new(view, lock),
                metrics: RegistryMetrics::default(),
                backup: tokio::sync::Mutex::default(),
            }),
            metadata,
        };
        if adopted_now {
            registry.metadata.request_recount().await?;
        }
        registry.metadata.register_collection().await?;
        registry.resume_collection().await?;
        registry.start_background();
        Ok((registry, Opened { adopted, changed }))
    }

    /// Stops the background tasks, brings the `repositories/` view up to date, and closes the metadata. Later
    /// requests fail.
    pub async fn close(&self) {
        // Requests that the end of the server has cut off save their uploads.
        if !self.inner.detached.ended(DETACHED_TIMEOUT).await {
            tracing::warn!(
                "operations without a client are still running; their uploads go on at the last saved byte"
            );
        }
        self.inner.background.stop().await;
        if let Err(error) = self.flush_pulls().await {
            tracing::warn!(%error, "cannot write the pull counts of the last minute");
        }
        self.inner.accounts.close().await;
        self.metadata.close().await;
        self.inner.background.release_lock();
    }

    /// The same registry for an actor, which is recorded with all changes made through it.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { inner: self.inner.clone(), metadata: self.metadata.acting_as(actor) }
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// Accounts, sign-in and permissions.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    /// The limits that the operator has set.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.inner.policy.load_full()
    }

    /// Puts another policy into force, also for background tasks. Requests under way keep the limits that they have read.
    ///
    /// # Errors
    /// Those of the store, if the quotas cannot be counted. The old policy then stays in force.
    pub async fn set_policy(&self, policy: Policy) -> Result<(), Error> {
        let old = self.policy();
        if policy == *old {
            return Ok(());
        }
        if policy.rules != old.rules
            && let Err(error) = self.metadata.obey(policy.rules.clone()).await
        {
            self.metadata.obey(old.rules.clone()).await?;
            return Err(error.into());
        }
        self.inner.cache.set_capacity(policy.cache_bytes);
        self.inner.read_limit.set(policy.check_read_rate);
        self.inner.policy.store(Arc::new(policy));
        self.inner.policy_changed.send_replace(());
        Ok(())
    }
}

/// Writes journaled content of the last process to files.
async fn replay(blob_journal: &BlobJournal) -> Result<(), Error> {
    match blob_journal.restore().await {
        Ok(0) => Ok(()),
        Ok(contents) => {
            tracing::info!(contents, "the last process did not shut down cleanly; replayed the blob journal");
            Ok(())
        }
        // Pulls of all other content work. The journal keeps its entries until a later replay succeeds.
        Err(error) if error.is_full() || matches!(error, StoreError::Io { .. }) => {
            tracing::error!(%error, "the blob journal cannot be replayed yet; it is tried again");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
