//! The lifecycle of a registry: opening a data directory, and closing it.

use std::sync::Arc;
use std::time::Duration;

use accounts::Actor;
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use store::adopt::Report;
use store::blob_journal::BlobJournal;
use store::blobs::Claim;
use store::directory::Content;
use store::object_settings::SharedKey;
use store::rebuild::rebuild_if_missing;
use store::shipping::Shipping;
use store::view::View;
use store::{BlobStore, Directory, Metadata, StoreError};
use tokio::sync::watch;
use uuid::Uuid;

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
use crate::storage_state::{BlobStoreError, FreeSpace};
use crate::tag_lookups::TagLookups;
use crate::uploads::{OpenUploads, Unfinished, UploadIds};
use crate::{Error, Inner, Policy, Registry, cache::Cache, description};

/// The time for operations without a client to end.
const DETACHED_TIMEOUT: Duration = Duration::from_secs(3);

/// The time for the release of the blob store. Service managers kill the process after 10 s.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of opening a directory.
#[derive(Debug, Default)]
pub struct Opened {
    /// The content of `repositories/`, if the database was missing: a directory of `registry:2`, or a lost
    /// database.
    pub adopted: Option<Report>,
    /// Changes that other programs made since the directory was last open.
    pub changed: Report,
}

impl Registry {
    /// Opens the registry of a data directory.
    ///
    /// A directory without a database is adopted first: its `repositories/` are read, and no content is
    /// copied. `progress` receives the number of repositories read so far.
    ///
    /// # Errors
    /// [`Error::Store`] if the directory is in use or damaged, [`Error::Htpasswd`] if the htpasswd file is
    /// unusable.
    pub async fn open(
        directory: Directory,
        policy: Policy,
        accounts: AccountSettings,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(Self, Opened), Error> {
        let lock = directory.lock()?;
        let moved = directory.finish_relocation()?;
        let blobs = directory.open_blobs()?;
        if policy.ship_metadata.is_some() {
            crate::shipping::restore(&directory, &*blobs).await?;
        }
        let describe = |manifest: oci::Manifest| {
            let blobs = &blobs;
            async move { description::of(&manifest, &**blobs).await }.boxed()
        };
        let adopted = rebuild_if_missing(&directory, &*blobs, &describe, progress).await?;
        let metadata = directory.open_metadata()?;
        if moved.is_some_and(|moved| moved.blobs) {
            metadata.forget_uploads().await?;
        }
        let holds_content = metadata.holds_content().await?;
        let has_old_links =
            moved.is_some_and(|moved| moved.links_are_old) || directory.has_old_links(&metadata).await?;
        let content = directory.claim_content(metadata.id(), adopted.is_some(), holds_content)?;
        let claim = match (&adopted, holds_content) {
            (Some(_), _) => Claim::Rebuilt,
            (None, true) => Claim::Existing,
            (None, false) => Claim::New,
        };
        store::shipping::check(&directory, metadata.id()).await?;
        blobs.claim(metadata.id(), claim).await?;
        directory.record_blob_place()?;
        let shipping = crate::shipping::open(&directory, &metadata, blobs.clone(), &policy).await?;
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
        let view = View::new(&directory, metadata.clone(), blob_journal)?;
        let adopted_now = adopted.is_some();
        let is_behind = adopted.is_none() && has_old_links;
        if is_behind {
            let written = view.write_anew().await?.written;
            tracing::warn!(
                links = written,
                "the links of repositories/ were older than the metadata, as in a copy of a data directory; wrote them anew"
            );
        }
        view.record_position().await?;
        if moved.is_some() {
            directory.end_relocation()?;
        }
        let changed = match adopted {
            None if !is_behind => adopt_at_start(&view, &directory, &*blobs).await?,
            _ => Report::default(),
        };
        let background = Background::new(view, lock);
        let unfinished = Unfinished::new(&unfinished);
        let registry = Parts {
            metadata,
            directory,
            content,
            blobs,
            shipping,
            accounts,
            policy,
            unfinished,
            upload_ids,
            background,
        }
        .assemble();
        if adopted_now {
            registry.metadata.request_recount().await?;
        }
        registry.metadata.register_collection().await?;
        registry.resume_collection().await?;
        registry.start_background();
        Ok((registry, Opened { adopted, changed }))
    }

    /// Opens a replica of a registry, beside its primary. It serves pulls, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`] with [`StoreError::OtherSchema`] if the primary has another version; else those of
    /// [`Registry::open`].
    pub async fn open_replica(
        directory: Directory,
        policy: Policy,
        accounts: AccountSettings,
    ) -> Result<Self, Error> {
        let lock = directory.lock()?;
        let blobs = directory.open_blobs()?;
        let metadata = directory.open_metadata()?;
        blobs.check_owner(metadata.id(), metadata.holds_content().await?).await?;
        let content = directory.claim_content(metadata.id(), false, true)?;
        metadata.mark_accounts_beside(directory.content())?;
        let accounts = Accounts::open(metadata.clone(), accounts).await?;
        let view =
            View::new(&directory, metadata.clone(), BlobJournal::new(blobs.clone(), metadata.clone()))?;
        let registry = Parts {
            metadata,
            directory,
            content,
            blobs,
            shipping: None,
            accounts,
            policy,
            unfinished: Unfinished::new(&[]),
            // No request for an upload is answered here.
            upload_ids: UploadIds::new(&[]),
            background: Background::new(view, lock),
        }
        .assemble();
        registry.start_replica_background();
        Ok(registry)
    }

    /// Whether this is a replica.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.metadata.is_replica()
    }

    /// Lets this process open the data directory again, for another role.
    pub fn release_directory(&self) {
        self.inner.background.release_lock();
    }

    /// Records this server as the primary.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn announce_primary(&self, address: String, secret: String) -> Result<(), Error> {
        Ok(self.metadata.announce_primary(address, secret).await?)
    }

    /// The last renewal of the lease of the bucket. `None` if no server holds it.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn lease_renewal(&self) -> Result<Option<Uuid>, Error> {
        Ok(self.inner.blobs.renewal().await?)
    }

    /// Whether another server has become the primary since this one did.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn is_superseded(&self) -> Result<bool, Error> {
        Ok(self.metadata.is_superseded().await?)
    }

    /// Stops the background tasks, brings the `repositories/` view up to date, and closes the metadata. Later
    /// requests fail.
    pub async fn close(&self) {
        // Requests that the end of the server has cut off save their uploads.
        let have_ended = self.inner.detached.ended(DETACHED_TIMEOUT).await;
        if !have_ended {
            tracing::warn!(
                "operations without a client are still running; their uploads go on at the last saved byte"
            );
        }
        self.inner.background.stop().await;
        if !self.is_replica()
            && let Err(error) = self.inner.background.view().close_position().await
        {
            tracing::warn!(%error, "cannot record the end of the repositories/ view");
        }
        if let Err(error) = self.flush_pulls().await {
            tracing::warn!(%error, "cannot write the pull counts of the last minute");
        }
        self.inner.accounts.close().await;
        self.ship_last().await;
        self.metadata.close().await;
        if have_ended && !self.is_replica() {
            self.release_blobs().await;
        }
        self.inner.background.release_lock();
    }

    /// Releases the blob store for another server, which otherwise waits until the lease has run out.
    async fn release_blobs(&self) {
        match tokio::time::timeout(RELEASE_TIMEOUT, self.inner.blobs.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot release the lease of the bucket; it runs out"),
            Err(_) => tracing::warn!("cannot release the lease of the bucket in time; it runs out"),
        }
    }

    /// The same registry for an actor, which is recorded with all changes made through it.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { inner: self.inner.clone(), metadata: self.metadata.acting_as(actor) }
    }

    /// Whether other servers may use the registry, so that each request begins with
    /// [`Registry::check_versions`].
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.metadata.is_shared()
    }

    /// Waits until all changes that other servers committed before this call count here.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database does not answer in time.
    pub async fn check_versions(&self) -> Result<(), Error> {
        self.metadata.check_versions().await?;
        self.inner.accounts.reread().await
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

    /// Puts another access key of the bucket into force.
    pub fn set_access_key(&self, key: &SharedKey) {
        if let Some(present) = self.inner.directory.objects().and_then(|objects| objects.key.as_ref()) {
            present.replace(key);
        }
    }

    /// Puts another policy into force, also for background tasks. Requests under way keep the limits that
    /// they have read.
    ///
    /// # Errors
    /// The errors of the store, if the quotas cannot be counted. The old policy then stays in force.
    pub async fn set_policy(&self, policy: Policy) -> Result<(), Error> {
        let old = self.policy();
        if policy == *old {
            return Ok(());
        }
        if policy.rules != old.rules
            && !self.is_replica()
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

/// The parts of an open registry, besides its state in memory.
struct Parts {
    metadata: Metadata,
    directory: Directory,
    content: Content,
    blobs: Arc<dyn BlobStore>,
    shipping: Option<Shipping>,
    accounts: Accounts,
    policy: Policy,
    unfinished: Unfinished,
    upload_ids: UploadIds,
    background: Background,
}

impl Parts {
    fn assemble(self) -> Registry {
        let Self { metadata, policy, .. } = self;
        let cache = Arc::new(Cache::new(policy.cache_bytes));
        metadata.on_commit({
            let cache = cache.clone();
            move |commit| {
                if commit.is_unknown {
                    cache.clear();
                }
                cache.invalidate(&commit.changes);
            }
        });
        let inner = Arc::new(Inner {
            cache,
            detached: Detached::default(),
            read_limit: ReadLimit::new(policy.check_read_rate),
            checking: tokio::sync::Mutex::default(),
            verdicts: Verdicts::default(),
            event_queue: EventQueue::new(),
            accounts: self.accounts,
            directory: self.directory,
            content: self.content,
            blobs: self.blobs,
            blob_store_error: BlobStoreError::default(),
            shipping: self.shipping,
            policy: ArcSwap::from_pointee(policy),
            policy_changed: watch::Sender::new(()),
            collector: Collector::default(),
            guards: Guards::default(),
            schedule: Schedule::default(),
            open_uploads: OpenUploads::default(),
            unfinished: self.unfinished,
            pulls: Pulls::default(),
            tag_lookups: TagLookups::default(),
            free_space: FreeSpace::default(),
            large_manifests: LargeManifests::default(),
            retention: tokio::sync::Mutex::default(),
            upload_ids: self.upload_ids,
            background: self.background,
            metrics: RegistryMetrics::default(),
            backup: tokio::sync::Mutex::default(),
        });
        Registry { inner, metadata }
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
