//! Reload (SIGHUP, `wharfinger reload`): applies settings that can change at run time, and names changed
//! settings that need a restart.
//!
//! An invalid configuration changes nothing. Connections and transfers continue.

use std::sync::Arc;

use api::Reloaded;
use registry::access::Accounts;

use tokio::sync::watch;
use upstream::error_chain;

use crate::config::{Config, ConfigErrors, Loaded, Setting, changed_settings, copy_settings};
use crate::http::live::LiveApp;
use crate::logging;
use crate::serve::settings::{access_key, policy};
use crate::tls::Acceptor;
use crate::traces;

/// Reads the configuration again, from the same flags, file and environment.
pub type ReadConfig = Box<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// The parts of a server that a reload changes.
pub(crate) struct Reload {
    pub(crate) read: Arc<ReadConfig>,
    pub(crate) in_force: watch::Sender<Config>,
    pub(crate) accounts: Accounts,
    pub(crate) tls: Option<Acceptor>,
    pub(crate) live: Arc<LiveApp>,
}

impl Reload {
    pub(crate) async fn run(&mut self) -> Reloaded {
        let read = self.read.clone();
        let mut reloaded = match tokio::task::spawn_blocking(move || read()).await {
            Ok(Ok(loaded)) => Box::pin(self.take(loaded)).await,
            Ok(Err(ConfigErrors(mistakes))) => Reloaded {
                errors: mistakes.into_iter().map(|error| error.message).collect(),
                ..Reloaded::default()
            },
            Err(error) => Reloaded { errors: vec![error.to_string()], ..Reloaded::default() },
        };
        for error in &reloaded.errors {
            tracing::error!(%error, "the configuration cannot be used");
        }
        if !reloaded.errors.is_empty() {
            tracing::error!("reload: the settings stay as they were");
        }
        if let Some(tls) = &self.tls
            && let Err(error) = tls.reload().await
        {
            reloaded.errors.push(format!("the certificate: {error}"));
        }
        if let Err(error) = self.accounts.reload_htpasswd().await {
            tracing::error!(%error, "reload: the users of the htpasswd file stay as they were");
            reloaded.errors.push(error.to_string());
        }
        reloaded
    }

    async fn take(&mut self, mut loaded: Loaded) -> Reloaded {
        let config = std::mem::take(&mut loaded.config);
        let before = self.in_force.borrow().clone();
        let changed = changed_settings(&before, &config);
        let (live, needs_restart): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|setting| setting.is_live());
        let paths = |settings: Vec<&Setting>| settings.into_iter().map(|setting| setting.path).collect();
        let (mut applied, needs_restart): (Vec<_>, Vec<_>) = (paths(live), paths(needs_restart));
        let mut errors = Vec::new();
        let mut next = before.clone();
        copy_settings(&mut next, &config, &applied);
        // Without a change too: files that settings name may differ.
        let read_key = tokio::task::spawn_blocking({
            let next = next.clone();
            move || access_key(&next).map_err(|error| error.to_string())
        });
        let outcome = match read_key.await.map_err(|error| error.to_string()).flatten() {
            Ok(key) => {
                self.live.apply(&before, &next, policy(&next), key).await.map_err(|error| error_chain(&error))
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                logging::set_level(&next.log.level);
                traces::set_sample(next.tracing.sample);
                loaded.config.clone_from(&next);
                self.in_force.send_replace(next);
                self.live.describe(&loaded.effective());
            }
            Err(error) => {
                tracing::error!(error, "reload: the settings stay as they were");
                errors.push(error);
                applied.clear();
            }
        }
        let file = loaded.file.map(|file| file.display().to_string());
        tracing::info!(
            file,
            changed = applied.len() + needs_restart.len(),
            "reload: read the configuration again"
        );
        for setting in &applied {
            tracing::info!(setting, "reload: the new value is in force");
        }
        for setting in &needs_restart {
            tracing::warn!(setting, "reload: the new value needs a restart; the old one stays in force");
        }
        let owned = |settings: Vec<&str>| settings.into_iter().map(str::to_owned).collect();
        Reloaded { file, applied: owned(applied), needs_restart: owned(needs_restart), errors }
    }
}
