//! Server start and stop: opens the registry, listens, handles signals, and closes the registry at the end.

mod error;
mod local;
pub mod private_file;
pub mod restore;
mod scheduled_backup;
mod service_manager;
pub(crate) mod settings;
mod signals;
mod sockets;
mod startup;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use store::Directory;
use tokio::sync::{Notify, watch};

pub use self::error::ServeError;
pub use self::local::{LocalError, LocalServer, ORIGIN, tls_directory};
pub use self::settings::account_settings;
use self::signals::Signals;
pub use self::sockets::{InheritError, InheritedAddresses, InheritedSockets};
pub use self::startup::{FirstAdministrator, Front, Startup, accept_older_database, open_registry, refused};
use self::summary::{Summary, greeting};
use crate::config::{Config, retention_warnings};
use crate::output_queue;
use crate::reload::{ReadConfig, Reload};
use crate::traces;

/// The time to close the registry. Container runtimes kill the process 10 s after the signal.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(8);

/// Serves until a signal stops the server. SIGHUP reloads the configuration with `read`.
///
/// # Errors
/// [`ServeError`] before the server listens. A running server ends by signals only.
pub async fn serve(
    config: Config,
    file: Option<PathBuf>,
    read: ReadConfig,
    front: Front,
    first: Option<FirstAdministrator>,
    inherited: InheritedSockets,
) -> Result<(), ServeError> {
    let signals = Signals::new().map_err(ServeError::Signals)?;
    let is_new = !config.data.exists();
    let settings = read().map(|loaded| loaded.effective()).unwrap_or_default();
    let startup = Startup::new(&config, front).with_administrator(first.as_ref()).with_settings(settings);
    let opened = startup.with_sockets(inherited).open().await;
    if opened.is_err() && is_new {
        Directory::remove_unused(&config.data);
    }
    let (registry, mut server) = opened?;
    let summary = Summary::of(&registry, &server, file.as_deref()).await?;
    tracing::info!("{summary}");
    if registry.accounts().in_force() && config.is_clear_text() {
        tracing::warn!(
            listen = %config.listen,
            "passwords cross the network in clear text: serve HTTPS (--tls-self-signed HOST, or tls.certificate), or, \
             if a proxy ends TLS, set proxy.trusted or an external_url that begins with https://"
        );
    }
    for warning in retention_warnings(&config.retention) {
        tracing::warn!("{warning}");
    }
    // One write: a reader that waits for the first line gets all of it.
    output_queue::stdout().push(greeting(&server, &config).as_bytes());
    if let Some(address) = server.metrics_address() {
        tracing::info!("metrics are at http://{address}/metrics");
    }
    let status = format!("serving {}://{}", server.scheme(), server.address());
    service_manager::ready(&status);
    let watchdog = tokio::spawn(service_manager::watch());
    let (in_force, configuration) = watch::channel(config);
    let backups = tokio::spawn(scheduled_backup::run(registry.clone(), configuration));
    let hurry = Arc::new(Notify::new());
    let (live, requests) = server.live();
    let reload = Reload {
        read: Arc::new(read),
        in_force,
        accounts: registry.accounts().clone(),
        tls: server.tls().cloned(),
        live,
    };
    let handler = tokio::spawn(signals.handle(server.stop(), status, hurry.clone(), reload, requests));
    server.run().await;
    backups.abort();
    tokio::select! {
        () = registry.close() => tracing::info!("stopped"),
        // All acknowledged writes are on the disk. The next start does the rest.
        () = tokio::time::sleep(CLOSE_TIMEOUT) => {
            tracing::warn!("stopped before the registry was closed: the disk is too slow; the next start does the rest");
        }
        () = hurry.notified() => tracing::warn!("stopped at once, before the registry was closed"),
    }
    handler.abort();
    watchdog.abort();
    traces::stop().await;
    Ok(())
}
