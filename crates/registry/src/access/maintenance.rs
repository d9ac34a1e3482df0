//! What runs beside the requests: keys are changed, the htpasswd file is looked at, what was used
//! is written down, and what is over is forgotten.

use std::collections::HashMap;
use std::future::Future;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use store::StoreError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Accounts;
use super::bearer::NewKey;
use super::htpasswd::Users;
use super::sign_in::made_by;
use crate::Error;

/// The name of the htpasswd file in the audit log. It can be no account's.
const HTPASSWD: &str = "(htpasswd)";
/// How often the htpasswd file is looked at. A change counts after two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is written down what was used when.
const WRITE_DOWN: Duration = Duration::from_secs(30);
/// How often keys and what is over are looked after.
const TIDY: Duration = Duration::from_secs(10 * 60);
/// How many rows one transaction forgets.
const BATCH: usize = 1000;
/// How much longer than a token a key is kept that has signed it.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// The tasks, and what they have to write down.
pub(super) struct Maintenance {
    stop: watch::Sender<bool>,
    running: Mutex<Vec<JoinHandle<()>>>,
    seen: Mutex<HashMap<i64, SystemTime>>,
    used: Mutex<HashMap<i64, SystemTime>>,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            stop: watch::Sender::new(false),
            running: Mutex::default(),
            seen: Mutex::default(),
            used: Mutex::default(),
        }
    }
}

impl Maintenance {
    /// An account has signed in just now.
    pub(super) fn account_seen(&self, id: i64) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id, SystemTime::now());
    }

    /// A token was used just now.
    pub(super) fn token_used(&self, id: i64) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(id, SystemTime::now());
    }
}

fn take(times: &Mutex<HashMap<i64, SystemTime>>) -> Vec<(i64, SystemTime)> {
    mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
}

impl Accounts {
    pub(super) fn start_tending(&self) {
        let mut running = vec![
            self.every(
                WRITE_DOWN,
                "when tokens were used could not be written down",
                |accounts| async move { accounts.write_down().await },
            ),
            self.every(TIDY, "what is over in the accounts could not be removed", |accounts| async move {
                accounts.tidy().await
            }),
        ];
        if self.inner.htpasswd.is_some() {
            running.push(self.every(
                LOOK,
                "the users of the htpasswd file could not be taken over",
                |accounts| async move { accounts.look_at_htpasswd().await },
            ));
        }
        self.inner.maintenance.running.lock().unwrap_or_else(PoisonError::into_inner).extend(running);
    }

    /// Does something again and again until it is told to stop.
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
                    // A block of its own: what `wait_for` gives must not be held across a wait.
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

    pub(super) async fn stop_tending(&self) {
        let maintenance = &self.inner.maintenance;
        maintenance.stop.send_replace(true);
        let running = mem::take(&mut *maintenance.running.lock().unwrap_or_else(PoisonError::into_inner));
        for task in running {
            if task.await.is_err() {
                tracing::error!("a task that looks after accounts had panicked");
            }
        }
        if let Err(error) = self.write_down().await {
            tracing::warn!(%error, "when tokens were used could not be written down");
        }
    }

    /// Writes down who signed in and what was used when, all in one go.
    pub(super) async fn write_down(&self) -> Result<(), Error> {
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

    pub(super) async fn tidy(&self) -> Result<(), Error> {
        let now = SystemTime::now();
        while self.inner.metadata.forget_ended_tokens(now, BATCH).await? == BATCH {}
        if let Some(before) = now.checked_sub(self.inner.settings.audit_retention) {
            while self.inner.metadata.expire_audit(before, BATCH).await? == BATCH {}
        }
        self.change_keys(now).await
    }

    /// Makes a new key if the newest has signed long enough, and forgets those by which no token
    /// that still holds was signed.
    async fn change_keys(&self, now: SystemTime) -> Result<(), Error> {
        let settings = &self.inner.settings;
        let is_due = self.inner.keys.newest().is_none_or(|newest| newest + settings.key_lifetime <= now);
        if is_due {
            let key = NewKey::make().map_err(damaged)?;
            self.inner.metadata.add_signing_key(key.kid, key.secret).await?;
        }
        let kept = settings.key_lifetime + settings.token_lifetime + GRACE;
        let removed = match now.checked_sub(kept) {
            Some(before) => self.inner.metadata.remove_signing_keys(before).await?,
            None => 0,
        };
        if is_due || removed > 0 {
            let keys = self.inner.metadata.signing_keys().await?;
            let keys = keys.into_iter().map(|key| (key.secret, key.created_at));
            self.inner.keys.set(keys).map_err(damaged)?;
            // Tokens of a key that is gone are not to be remembered either.
            self.changed();
        }
        Ok(())
    }

    /// Reads the keys, and makes the first one.
    pub(super) async fn read_keys(&self) -> Result<(), Error> {
        let keys = self.inner.metadata.signing_keys().await?;
        let keys = keys.into_iter().map(|key| (key.secret, key.created_at));
        self.inner.keys.set(keys).map_err(damaged)?;
        self.change_keys(SystemTime::now()).await
    }

    pub(super) async fn look_at_htpasswd(&self) -> Result<(), Error> {
        let accounts = self.clone();
        let look = tokio::task::spawn_blocking(move || {
            accounts.inner.htpasswd.as_ref().and_then(super::htpasswd::File::look)
        });
        // A password that is not in the file any more is forgotten at once.
        if look.await.map_err(|_| StoreError::Closed)?.is_some() {
            self.changed();
            self.sync_htpasswd().await?;
        }
        Ok(())
    }

    /// Reads the htpasswd file now if it has changed, without waiting whether it changes further.
    ///
    /// # Errors
    /// [`Error::Store`]. A file that cannot be used is logged, and the users stay as they were.
    pub async fn reload_htpasswd(&self) -> Result<(), Error> {
        // The first look notes the change, the second one finds it settled.
        self.look_at_htpasswd().await?;
        self.look_at_htpasswd().await
    }

    /// Makes the users of the file accounts like any others.
    pub(super) async fn sync_htpasswd(&self) -> Result<(), Error> {
        let users = self.inner.htpasswd.as_ref().map(super::htpasswd::File::users);
        let names = users.iter().flat_map(|users| Users::names(users)).cloned().collect();
        let metadata = self.inner.metadata.clone();
        let synced = self.change(async move { Ok(metadata.sync_file_users(names).await?) }).await?;
        for name in &synced.made {
            self.record(made_by(HTPASSWD, name, None, "in the htpasswd file")).await;
        }
        if !synced.taken.is_empty() {
            let names: Vec<_> = synced.taken.iter().map(accounts::AccountName::as_str).collect();
            tracing::warn!(
                "these names of the htpasswd file are accounts that were made here, and keep their own \
                 passwords: {}",
                names.join(", ")
            );
        }
        Ok(())
    }
}

fn damaged(error: super::bearer::KeyError) -> Error {
    Error::Store(StoreError::Damaged(error.to_string()))
}
