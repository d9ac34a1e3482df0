//! Maintenance of accounts in the background: key rotation, polling of the htpasswd file, usage times,
//! retention.

use std::collections::HashMap;
use std::future::Future;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use store::StoreError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::Accounts;
use super::audit::account_created;
use super::bearer::NewKey;
use super::htpasswd::Users;
use crate::Error;

/// The actor "htpasswd file" in the audit log. No account can have this name.
const HTPASSWD: &str = "(htpasswd)";
/// The polling interval of the htpasswd file. A change applies after two polls.
const POLL: Duration = Duration::from_secs(1);
/// The interval at which usage times are written.
const FLUSH: Duration = Duration::from_secs(30);
/// The interval of key rotation and retention.
const TIDY: Duration = Duration::from_secs(10 * 60);
/// The maximum number of rows deleted in one transaction.
const BATCH: usize = 1000;
/// The extra time for which a key stays after its last token has expired.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// The background tasks, and usage times that are not written yet.
pub(super) struct Maintenance {
    stop: watch::Sender<bool>,
    /// Wakes the task that reads the accounts again.
    unknown: Notify,
    /// The number of times that the accounts had to be read again.
    wanted: AtomicU64,
    /// The number for which they were read. Its lock lets one task read.
    read: tokio::sync::Mutex<u64>,
    running: Mutex<Vec<JoinHandle<()>>>,
    seen: Mutex<HashMap<i64, SystemTime>>,
    used: Mutex<HashMap<i64, SystemTime>>,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            stop: watch::Sender::new(false),
            unknown: Notify::new(),
            wanted: AtomicU64::new(0),
            read: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            seen: Mutex::default(),
            used: Mutex::default(),
        }
    }
}

impl Maintenance {
    pub(super) fn account_seen(&self, id: i64) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id, SystemTime::now());
    }

    pub(super) fn read_anew(&self) {
        self.wanted.fetch_add(1, Ordering::AcqRel);
        self.unknown.notify_one();
    }

    pub(super) fn token_used(&self, id: i64) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(id, SystemTime::now());
    }
}

fn take(times: &Mutex<HashMap<i64, SystemTime>>) -> Vec<(i64, SystemTime)> {
    mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
}

impl Accounts {
    pub(super) fn start_maintenance(&self) {
        let mut running = vec![
            self.every(FLUSH, "cannot write the usage times of tokens", |accounts| async move {
                accounts.flush_usage().await
            }),
            self.reread_when_unknown(),
        ];
        let is_replica = self.inner.metadata.is_replica();
        if !is_replica {
            running.push(self.every(
                TIDY,
                "cannot remove expired tokens and audit entries",
                |accounts| async move { accounts.tidy(SystemTime::now()).await },
            ));
        }
        if self.inner.htpasswd.is_some() && !is_replica {
            running.push(self.every(
                POLL,
                "cannot update the users of the htpasswd file",
                |accounts| async move { accounts.poll_htpasswd().await },
            ));
        }
        self.inner.maintenance.running.lock().unwrap_or_else(PoisonError::into_inner).extend(running);
    }

    /// Spawns a task that runs `work` periodically until the stop signal.
    fn every<F>(
        &self,
        period: Duration,
        failed: &'static str,
        work: impl Fn(Self) -> F + Send + 'static,
    ) -> JoinHandle<()>
    where
        F: Future<Output = Result<(), Error>> + Send,
    {
        let accounts = self.clone();
        let mut stopped = self.inner.maintenance.stop.subscribe();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    // The block drops the guard that `wait_for` returns.
                    () = async { _ = stopped.wait_for(|stop| *stop).await } => return,
                    _ = ticks.tick() => {
                        if let Err(error) = work(accounts.clone()).await {
                            tracing::warn!(%error, "{failed}");
                        }
                    }
                }
            }
        })
    }

    /// Spawns a task that reads the keys, and whether access control is in force, when the database may have
    /// changed in any way.
    fn reread_when_unknown(&self) -> JoinHandle<()> {
        let accounts = self.clone();
        let mut stopped = self.inner.maintenance.stop.subscribe();
        tokio::spawn(async move {
            let reread = async {
                loop {
                    accounts.inner.maintenance.unknown.notified().await;
                    while let Err(error) = accounts.reread().await {
                        tracing::warn!(%error, "cannot read the accounts again");
                        tokio::time::sleep(POLL).await;
                    }
                }
            };
            tokio::select! {
                () = async { _ = stopped.wait_for(|stop| *stop).await } => {}
                () = reread => {}
            }
        })
    }

    /// Reads the keys, and whether access control is in force, if the database may have changed since they
    /// were read.
    pub(crate) async fn reread(&self) -> Result<(), Error> {
        let maintenance = &self.inner.maintenance;
        let mut read = maintenance.read.lock().await;
        let wanted = maintenance.wanted.load(Ordering::Acquire);
        if *read < wanted {
            self.refresh_in_force().await?;
            self.reload_keys().await?;
            *read = wanted;
        }
        Ok(())
    }

    pub(super) async fn stop_maintenance(&self) {
        let maintenance = &self.inner.maintenance;
        maintenance.stop.send_replace(true);
        let running = mem::take(&mut *maintenance.running.lock().unwrap_or_else(PoisonError::into_inner));
        for task in running {
            if task.await.is_err() {
                tracing::error!("a maintenance task of the accounts has panicked");
            }
        }
        if let Err(error) = self.flush_usage().await {
            tracing::warn!(%error, "cannot write the usage times of tokens");
        }
    }

    /// Writes the usage times of accounts and tokens, and ends aggregated audit rows.
    pub(super) async fn flush_usage(&self) -> Result<(), Error> {
        let (seen, used) = (take(&self.inner.maintenance.seen), take(&self.inner.maintenance.used));
        if !seen.is_empty() {
            self.inner.metadata.touch_accounts(seen).await?;
        }
        if !used.is_empty() {
            self.inner.metadata.touch_tokens(used).await?;
        }
        self.inner.audit.end_repeats().await;
        Ok(())
    }

    /// Removes everything that has expired at the time `now`.
    pub(super) async fn tidy(&self, now: SystemTime) -> Result<(), Error> {
        while self.inner.metadata.forget_ended_tokens(now, BATCH).await? == BATCH {}
        if let Some(before) = now.checked_sub(self.inner.settings.audit_retention) {
            while self.inner.metadata.expire_audit(before, BATCH).await? == BATCH {}
        }
        self.rotate_keys(now).await
    }

    /// Creates a new key when one is due, and deletes keys whose tokens have all expired.
    async fn rotate_keys(&self, now: SystemTime) -> Result<(), Error> {
        let settings = &self.inner.settings;
        let is_due = self.inner.keys.newest().is_none_or(|newest| newest + settings.key_lifetime <= now);
        if is_due {
            let key = NewKey::generate().map_err(damaged)?;
            self.inner.metadata.add_signing_key(key.kid, key.secret).await?;
        }
        let retention = settings.key_lifetime + settings.token_lifetime + GRACE;
        let removed = match now.checked_sub(retention) {
            Some(before) => self.inner.metadata.remove_signing_keys(before).await?,
            None => 0,
        };
        if is_due || removed > 0 {
            self.reload_keys().await?;
        }
        Ok(())
    }

    pub(super) async fn reload_keys(&self) -> Result<(), Error> {
        let keys = self.inner.metadata.signing_keys().await?;
        let keys = keys.into_iter().map(|key| (key.secret, key.created_at));
        self.inner.keys.set(keys).map_err(damaged)?;
        // Evicts cached tokens of deleted keys.
        self.changed();
        Ok(())
    }

    /// Loads the keys, and creates the first one.
    pub(super) async fn load_keys(&self) -> Result<(), Error> {
        self.reload_keys().await?;
        self.rotate_keys(SystemTime::now()).await
    }

    pub(super) async fn poll_htpasswd(&self) -> Result<(), Error> {
        let accounts = self.clone();
        let poll = tokio::task::spawn_blocking(move || {
            accounts.inner.htpasswd.as_ref().and_then(super::htpasswd::File::poll)
        });
        // Invalidates cached sign-ins before accounts change, so that a removed password fails at once.
        if poll.await.map_err(|_| StoreError::Closed)?.is_some() {
            self.changed();
            self.sync_htpasswd().await?;
        }
        Ok(())
    }

    /// Reloads the htpasswd file if it has changed, without debounce.
    ///
    /// # Errors
    /// [`Error::Store`]. An unreadable file is logged, and its last users stay.
    pub async fn reload_htpasswd(&self) -> Result<(), Error> {
        // The first poll sees the change, the second one accepts it.
        self.poll_htpasswd().await?;
        self.poll_htpasswd().await
    }

    /// Creates and removes accounts so that they match the users of the file.
    pub(super) async fn sync_htpasswd(&self) -> Result<(), Error> {
        let users = self.inner.htpasswd.as_ref().map(super::htpasswd::File::users);
        let names = users.iter().flat_map(|users| Users::names(users)).cloned().collect();
        let metadata = self.inner.metadata.clone();
        let synced = self.change(async move { Ok(metadata.sync_file_users(names).await?) }).await?;
        for name in &synced.made {
            self.record(account_created(HTPASSWD, name, None, "in the htpasswd file")).await;
        }
        if !synced.taken.is_empty() {
            let names: Vec<_> = synced.taken.iter().map(accounts::AccountName::as_str).collect();
            tracing::warn!(
                "these users of the htpasswd file have accounts with passwords in the registry, which stay: {}",
                names.join(", ")
            );
        }
        if !synced.other_case.is_empty() {
            let names: Vec<_> = synced.other_case.iter().map(accounts::AccountName::as_str).collect();
            tracing::warn!(
                "these users of the htpasswd file cannot sign in, because accounts have their names in other case: {}",
                names.join(", ")
            );
        }
        Ok(())
    }
}

fn damaged(error: super::bearer::KeyError) -> Error {
    Error::Store(StoreError::Damaged(error.to_string()))
}
