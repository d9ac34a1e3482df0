//! Reload (SIGHUP, `wharfinger reload`): applies settings that can change at run time, and names changed settings that
//! need a restart.
//!
//! An invalid configuration changes nothing. Connections and transfers continue.

use std::sync::Arc;

use api::Reloaded;
use registry::access::Accounts;

use crate::config::{Config, ConfigErrors, Loaded, changed_settings, copy_settings};
use crate::http::live::{LIVE, LiveApp};
use crate::logging;
use crate::tls::Acceptor;

const LOG_LEVEL: &str = "log.level";

/// Reads the configuration again, from the same flags, file and environment.
pub type ReadConfig = Box<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// The parts of a server that a reload changes.
pub(crate) struct Reload {
    pub(crate) read: Arc<ReadConfig>,
    pub(crate) in_force: Config,
    pub(crate) accounts: Accounts,
    pub(crate) tls: Option<Acceptor>,
    pub(crate) live: Arc<LiveApp>,
}

impl Reload {
    pub(crate) async fn run(&mut self) -> Reloaded {
        let read = self.read.clone();
        let mut reloaded = match tokio::task::spawn_blocking(move || read()).await {
            Ok(Ok(loaded)) => self.take(loaded),
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

    fn take(&mut self, mut loaded: Loaded) -> Reloaded {
        let config = std::mem::take(&mut loaded.config);
        let changed = changed_settings(&self.in_force, &config);
        let (mut applied, needs_restart): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|setting| *setting == LOG_LEVEL || LIVE.contains(setting));
        let mut errors = Vec::new();
        let mut next = self.in_force.clone();
        copy_settings(&mut next, &config, &applied);
        let concerns_app = applied.iter().any(|setting| LIVE.contains(setting));
        match if concerns_app { self.live.apply(&next) } else { Ok(()) } {
            Ok(()) => {
                logging::set_level(&next.log.level);
                self.in_force = next;
                loaded.config.clone_from(&self.in_force);
                self.live.describe(&loaded.effective());
            }
            Err(error) => {
                errors.push(error.to_string());
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
