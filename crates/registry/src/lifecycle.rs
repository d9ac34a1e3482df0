//! Opening and closing a registry, and what runs beside the requests.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oci::RepositoryName;
use store::adopt::{self, Report, Scope};
use store::blob_journal::BlobJournal;
use store::blobs::files::FileBlobs;
use store::directory::{Content, Lock};
use store::metadata::ViewProblem;
use store::view::View;
use store::{Directory, Metadata, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::{AccountSettings, Accounts};
use crate::uploads::{OpenUploads, UploadIds};
use crate::{Error, Inner, Policy, Registry, cache::Cache, description};

/// How often uploads that nobody goes on with are looked for.
const SWEEP: Duration = Duration::from_secs(10 * 60);

/// When all links are compared after a start: commands have ended by then.
const BEFORE_ALL_LINKS: Duration = Duration::from_secs(2);

/// Tasks that run beside the requests until the registry is closed.
pub(crate) struct Background {
    view: View,
    stop: watch::Sender<bool>,
    running: Mutex<Vec<JoinHandle<()>>>,
    /// Given back last of all.
    lock: Mutex<Option<Lock>>,
}

/// What came of opening a directory.
#[derive(Debug, Default)]
pub struct Opened {
    /// What was found, if the directory was another registry's or had lost its database.
    pub adopted: Option<Report>,
    /// What another program has changed since the directory was last open.
    pub changed: Report,
}

impl Registry {
    /// Opens the registry of a data directory. A directory of `registry:2`, or one whose database
    /// was lost, is adopted first: its `repositories/` are read, and not a byte of content is
    /// copied; `progress` hears how many were read so far.
    ///
    /// # Errors
    /// [`Error::Store`] if the directory is in use or something of it cannot be opened,
    /// [`Error::Htpasswd`] if the htpasswd file cannot be used.
    pub async fn open(
        directory: Directory,
        policy: Policy,
        accounts: AccountSettings,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<(Self, Opened), Error> {
        let lock = directory.lock()?;
        let blobs = Arc::new(FileBlobs::open(&directory));
        let path = directory.metadata();
        let mut opened = Opened::default();
        if !path.exists() {
            opened.adopted = adopt_into(&path, &directory, &blobs, progress).await?;
        }
        let metadata = Metadata::open(&path)?;
        let content = claim_content(&directory, &metadata, opened.adopted.is_some()).await?;
        let accounts = Accounts::open(metadata.clone(), accounts).await?;
        let upload_ids = UploadIds::new(&metadata.upload_secret().await?);
        let known = metadata.list_uploads().await?.into_iter().collect();
        let stale = blobs.remove_stale_uploads(&known).await?;
        if stale > 0 {
            tracing::info!(uploads = stale, "removed what unfinished uploads had left");
        }
        let (stop, stopped) = watch::channel(false);
        let blob_journal = BlobJournal::new(blobs.clone(), metadata.clone());
        restore(&blob_journal).await?;
        let view = View::new(&directory, metadata.clone(), blob_journal);
        if opened.adopted.is_none() {
            opened.changed = adopt_changes(&view, &directory, &blobs).await?;
        }
        let tasks = Background { view, stop, running: Mutex::default(), lock: Mutex::new(Some(lock)) };
        let registry = Self {
            inner: Arc::new(Inner {
                cache: Cache::new(policy.cache_bytes),
                accounts,
                directory,
                content,
                blobs,
                metadata,
                policy,
                open_uploads: OpenUploads::default(),
                upload_ids,
                tasks,
            }),
        };
        registry.start_tasks(stopped);
        Ok((registry, opened))
    }

    /// Ends what runs beside the requests, brings the `repositories/` view up to date, and closes
    /// the metadata. Requests that come later fail.
    pub async fn close(&self) {
        let tasks = &self.inner.tasks;
        tasks.stop.send_replace(true);
        let running = std::mem::take(&mut *tasks.running.lock().unwrap_or_else(PoisonError::into_inner));
        for task in running {
            if task.await.is_err() {
                tracing::error!("a task beside the requests had panicked");
            }
        }
        self.inner.accounts.close().await;
        self.inner.metadata.close().await;
        tasks.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// Who may ask for what.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    /// What the operator allows.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// Reads all links below `repositories/` again, and adopts what another program has changed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn adopt(&self) -> Result<Report, Error> {
        self.adopt_all(Scope::All).await
    }

    /// What of `repositories/` could not be adopted. It is left as it is.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn adoption_problems(&self) -> Result<Vec<ViewProblem>, Error> {
        Ok(self.inner.metadata.view_problems().await?)
    }

    /// The repositories whose links below `repositories/` cannot be written, and why.
    #[must_use]
    pub fn blocked_repositories(&self) -> Vec<(RepositoryName, String)> {
        self.inner.tasks.view.blocked()
    }

    async fn adopt_all(&self, scope: Scope) -> Result<Report, Error> {
        let Inner { tasks, directory, blobs, cache, .. } = &*self.inner;
        let describe = |manifest: oci::Manifest| async move { description::of(&manifest, &**blobs).await };
        let report = tasks.view.adopt(directory, &**blobs, scope, describe, |_| ()).await?;
        let changed: BTreeSet<_> = report.changes.iter().map(|change| &change.repository).collect();
        changed.into_iter().for_each(|repository| cache.repository_deleted(repository));
        tasks.wake_view();
        Ok(report)
    }

    /// Looks for the changes that stamps do not show: links that were overwritten in place.
    async fn adopt_in_background(&self) {
        tokio::time::sleep(BEFORE_ALL_LINKS).await;
        match self.adopt_all(Scope::Background).await {
            Ok(report) => report.log_changes(),
            Err(Error::Store(StoreError::Closed)) => {}
            Err(error) => tracing::warn!(%error, "repositories/ could not be compared with the metadata"),
        }
    }

    fn start_tasks(&self, stopped: watch::Receiver<bool>) {
        let view = {
            let view = self.inner.tasks.view.clone();
            let mut stopped = stopped.clone();
            tokio::spawn(async move {
                // An error means that the sender is gone, which is the end as well.
                view.run(async move { _ = stopped.wait_for(|stop| *stop).await }).await;
            })
        };
        let deletions = {
            let registry = self.clone();
            let mut stopped = stopped.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = async { _ = stopped.wait_for(|stop| *stop).await } => {}
                    resumed = registry.resume_deletions() => if let Err(error) = resumed {
                        tracing::warn!(%error, "a deletion could not be finished; the next start tries it again");
                    },
                }
            })
        };
        let stopped_too = stopped.clone();
        let sweep = {
            let registry = self.clone();
            let mut stopped = stopped;
            tokio::spawn(async move {
                let mut every = tokio::time::interval(SWEEP);
                loop {
                    tokio::select! {
                        // A block of its own: what `wait_for` gives must not be held across a wait.
                        () = async { _ = stopped.wait_for(|stop| *stop).await } => return,
                        _ = every.tick() => match registry.expire_uploads().await {
                            Ok(0) => {}
                            Ok(expired) => tracing::info!(expired, "forgot uploads that nobody went on with"),
                            Err(error) => tracing::warn!(%error, "unfinished uploads could not be removed"),
                        },
                    }
                }
            })
        };
        let adopt = {
            let registry = self.clone();
            let mut stopped = stopped_too;
            tokio::spawn(async move {
                tokio::select! {
                    () = async { _ = stopped.wait_for(|stop| *stop).await } => {}
                    () = registry.adopt_in_background() => {}
                }
            })
        };
        let mut running = self.inner.tasks.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.extend([view, deletions, sweep, adopt]);
    }
}

impl Background {
    /// The view, for a check of all of it.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Tells the view that the metadata has changed.
    pub(crate) fn wake_view(&self) {
        self.view.wake();
    }
}

async fn claim_content(
    directory: &Directory,
    metadata: &Metadata,
    is_adopted: bool,
) -> Result<Content, Error> {
    let is_expected = metadata.holds_content().await?;
    Ok(directory.claim_content(metadata.id(), is_adopted, is_expected)?)
}

/// Writes to files what the last process had acknowledged and not settled.
async fn restore(blob_journal: &BlobJournal) -> Result<(), Error> {
    match blob_journal.restore().await {
        Ok(0) => Ok(()),
        Ok(contents) => {
            tracing::info!(
                contents,
                "the last run did not end in order; what it had acknowledged is there, and gets its files"
            );
            Ok(())
        }
        // Pulls of everything else go on, and it is tried again before anything is forgotten.
        Err(error) if error.is_full() => {
            tracing::error!(%error, "without space, content of the last run cannot be written to its files yet");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Adopts what another program has changed while nobody had the directory open. Costs a few stats for
/// each repository. If there is a change, all links are read: others may have been overwritten in place,
/// which stamps do not show.
async fn adopt_changes(view: &View, directory: &Directory, blobs: &Arc<FileBlobs>) -> Result<Report, Error> {
    let describe = |manifest: oci::Manifest| {
        let blobs = blobs.clone();
        async move { description::of(&manifest, &*blobs).await }
    };
    let report = view.adopt(directory, &**blobs, Scope::Changed, &describe, |_| ()).await?;
    if report.changes.is_empty() {
        return Ok(report);
    }
    let mut all = view.adopt(directory, &**blobs, Scope::All, &describe, |_| ()).await?;
    // What was new before is known by now.
    all.known_problems = all.known_problems.saturating_sub(report.problems.len() as u64);
    all.changes.splice(0..0, report.changes);
    all.incomplete.splice(0..0, report.incomplete);
    all.problems.splice(0..0, report.problems);
    all.without_links.splice(0..0, report.without_links);
    Ok(all)
}

/// Makes the database of a directory that has none from what its view says. It is made under
/// another name and renamed when it is whole: a database that is there is complete.
async fn adopt_into(
    path: &Path,
    directory: &Directory,
    blobs: &Arc<FileBlobs>,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Option<Report>, Error> {
    let unfinished = path.with_extension("unfinished");
    for suffix in ["", "-wal", "-shm"] {
        let mut leftover = unfinished.clone().into_os_string();
        leftover.push(suffix);
        match std::fs::remove_file(&leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", leftover, error).into());
            }
            _ => {}
        }
    }
    let metadata = Metadata::open(&unfinished)?;
    let describe = |manifest: oci::Manifest| {
        let blobs = blobs.clone();
        async move { description::of(&manifest, &*blobs).await }
    };
    let report = adopt::adopt(directory, &**blobs, &metadata, Scope::All, None, describe, progress).await?;
    metadata.close().await;
    // They are marks of the database that was lost, and of the one that has another name now.
    Metadata::accept_older(&unfinished)?;
    Metadata::accept_older(path)?;
    std::fs::rename(&unfinished, path).map_err(|error| StoreError::io("rename to", path, error))?;
    let parent = directory.own();
    std::fs::File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(|error| StoreError::io("sync", parent, error))?;
    Ok((report.repositories > 0 || !report.problems.is_empty()).then_some(report))
}
