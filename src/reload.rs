//! Reload (SIGHUP): takes what can change while requests run, and names every changed setting that needs a restart.
//!
//! A configuration that cannot be used leaves everything as it is. No connection and no transfer is touched.

use registry::access::Accounts;

use crate::config::{Config, ConfigErrors, Loaded, changed_settings};
use crate::logging;
use crate::tls::Acceptor;

/// Settings that are put in force at once. The files that others name are read again as well.
const LIVE: [&str; 1] = ["log.level"];

/// Reads the configuration from where the process had it at its start: the same flags, file and environment.
pub type ReadConfig = Box<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// What a reload works on.
pub(crate) struct Reload {
    pub(crate) read: std::sync::Arc<ReadConfig>,
    pub(crate) in_force: Config,
    pub(crate) accounts: Accounts,
    pub(crate) tls: Option<Acceptor>,
}

impl Reload {
    /// Reads everything again that can be read again.
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
        // Both log what they read, and what keeps them from it.
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
