//! Reload (SIGHUP): applies settings that can change at run time, and names changed settings that need a
//! restart.
//!
//! An invalid configuration changes nothing. Connections and transfers continue.

use registry::access::Accounts;

use crate::config::{Config, ConfigErrors, Loaded, changed_settings};
use crate::logging;
use crate::tls::Acceptor;

/// Settings that apply at once. Files that other settings name are read again too.
const LIVE: [&str; 1] = ["log.level"];

/// Reads the configuration again, from the same flags, file and environment.
pub type ReadConfig = Box<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// The parts of a server that a reload changes.
pub(crate) struct Reload {
    pub(crate) read: std::sync::Arc<ReadConfig>,
    pub(crate) in_force: Config,
    pub(crate) accounts: Accounts,
    pub(crate) tls: Option<Acceptor>,
}

impl Reload {
    pub(crate) async fn run(&mut self) {
        let read = self.read.clone();
        match tokio::task::spawn_blocking(move || read()).await {
            Ok(Ok(loaded)) => self.take(loaded),
            Ok(Err(ConfigErrors(mistakes))) => {
                for error in mistakes {
                    tracing::error!(error = %error.message, "the configuration cannot be used");
                }
                tracing::error!("reload: the settings stay as they were");
            }
            Err(error) => tracing::error!(%error, "reload: the settings stay as they were"),
        }
        // Both log results and errors.
        if let Some(tls) = &self.tls {
            tls.reload().await;
        }
        if let Err(error) = self.accounts.reload_htpasswd().await {
            tracing::error!(%error, "reload: the users of the htpasswd file stay as they were");
        }
    }

    fn take(&mut self, Loaded { config, file, .. }: Loaded) {
        let changed = changed_settings(&self.in_force, &config);
        logging::set_level(&config.log.level);
        self.in_force.log.level.clone_from(&config.log.level);
        let file = file.map(|file| file.display().to_string());
        tracing::info!(file, changed = changed.len(), "reload: read the configuration again");
        for setting in changed {
            if LIVE.contains(&setting) {
                tracing::info!(setting, "reload: the new value is in force");
            } else {
                tracing::warn!(setting, "reload: the new value needs a restart; the old one stays in force");
            }
        }
    }
}
