//! Background tasks of an open registry.
//!
//! They are the writer of the derived view, resumed deletions, the expiry of uploads, the flush of pull
//! counts and retention runs. Others adopt outside changes, watch the storage, and run the scheduled check.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use store::directory::Lock;
use store::view::View;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{JobKind, Registry};

/// The period of the search for expired uploads.
const EXPIRY_PERIOD: Duration = Duration::from_secs(10 * 60);

/// The period of the attempts to keep back space for deletions on a full disk.
const BALLAST_PERIOD: Duration = Duration::from_secs(60);

/// Tasks that run until the registry is closed.
pub(crate) struct Background {
    view: View,
    stop: watch::Sender<bool>,
    running: Mutex<Vec<JoinHandle<()>>>,
    /// Released after everything else has ended.
    lock: Mutex<Option<Lock>>,
}

impl Background {
    pub(crate) fn new(view: View, lock: Lock) -> Self {
        Self {
            view,
            stop: watch::Sender::new(false),
            running: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Stops all tasks and waits for them.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for task in running {
            if task.await.is_err() {
                tracing::error!("a background task of the registry has panicked");
            }
        }
    }

    /// Runs `work` until it ends, or until the registry is closed: then `None`.
    pub(crate) async fn until_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopped = self.stop.subscribe();
        tokio::select! {
            () = async { _ = stopped.wait_for(|stop| *stop).await } => None,
            value = work => Some(value),
        }
    }

    /// Lets another process open the data directory.
    pub(crate) fn release_lock(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Runs `work` until it ends or the registry is closed.
    fn spawn_until_stop(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut stopped = self.stop.subscribe();
        self.push(tokio::spawn(async move {
            tokio::select! {
                // The block drops the guard that `wait_for` returns. An error means that the sender is gone:
                // stop.
                () = async { _ = stopped.wait_for(|stop| *stop).await } => {}
                () = work => {}
            }
        }));
    }

    fn push(&self, task: JoinHandle<()>) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

impl Registry {
    /// Starts the tasks of a replica.
    pub(crate) fn start_replica_background(&self) {
        let background = &self.inner.background;
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.flush_pulls_in_background().await });
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.watch_storage().await });
        self.start_sweep();
    }

    /// Starts the task of a server with copies of blobs.
    fn start_sweep(&self) {
        if self.inner.directory.objects().is_some_and(|objects| objects.cache > 0) {
            let registry = self.clone();
            let sweep = async move { registry.sweep_blob_copies_in_background().await };
            self.inner.background.spawn_until_stop(sweep);
        }
    }

    pub(crate) fn start_background(&self) {
        let background = &self.inner.background;
        let (view, mut stopped) = (background.view.clone(), background.stop.subscribe());
        // The view writes its last changes after the stop, so it gets the signal instead of being dropped.
        background.push(tokio::spawn(async move {
            view.run(async move { _ = stopped.wait_for(|stop| *stop).await }).await;
        }));
        let registry = self.clone();
        background.spawn_until_stop(async move {
            if let Err(error) = registry.resume_deletions().await {
                tracing::warn!(%error, "cannot finish the deletion of a repository; the next start tries again");
            }
        });
        let registry = self.clone();
        background.spawn_until_stop(async move {
            let job = registry.job_metrics(JobKind::Expiry);
            let mut ticks = tokio::time::interval(EXPIRY_PERIOD);
            loop {
                ticks.tick().await;
                match job.run(registry.expire_uploads()).await {
                    Ok(0) => {}
                    Ok(expired) => tracing::info!(expired, "removed expired uploads"),
                    Err(error) => tracing::warn!(%error, "cannot remove expired uploads"),
                }
                if let Err(error) = registry.expire_history().await {
                    tracing::warn!(%error, "cannot remove old entries of the history of tags");
                }
            }
        });
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.flush_pulls_in_background().await });
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.size_repositories_in_background().await });
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.run_retention_on_schedule().await });
        let registry = self.clone();
        background.spawn_until_stop(async move {
            let mut ticks = tokio::time::interval(BALLAST_PERIOD);
            loop {
                ticks.tick().await;
                let metadata = registry.metadata.clone();
                _ = tokio::task::spawn_blocking(move || metadata.fill_ballast()).await;
            }
        });
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.collect_in_background().await });
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.expire_events().await });
        if let Some(queue) = self.inner.event_queue.take_receiver() {
            let registry = self.clone();
            background.spawn_until_stop(async move { registry.write_noted_events(queue).await });
        }
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.adopt_in_background().await });
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.watch_storage().await });
        if let Some(interval) = self.policy().ship_metadata {
            let registry = self.clone();
            background.spawn_until_stop(async move { registry.ship_in_background(interval).await });
        }
        if self.inner.directory.objects().is_some() {
            let registry = self.clone();
            background.spawn_until_stop(async move { registry.watch_blob_store().await });
            let registry = self.clone();
            background.spawn_until_stop(async move { registry.remove_leftovers_in_background().await });
        }
        self.start_sweep();
        let registry = self.clone();
        background.spawn_until_stop(async move { registry.check_on_schedule().await });
    }
}
