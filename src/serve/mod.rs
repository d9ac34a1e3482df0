//! Server start and stop: opens the registry, listens, handles signals, and closes the registry at the end.

mod address_space;
mod cluster;
mod error;
mod local;
pub mod private_file;
mod registry;
pub mod restore;
mod running;
mod scheduled_backup;
mod service_manager;
pub(crate) mod settings;
mod signals;
mod sockets;
mod startup;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;

use store::Directory;

pub use self::error::ServeError;
pub use self::local::{LocalError, LocalServer, ORIGIN, tls_directory};
pub use self::registry::open_registry;
use self::running::Running;
pub use self::settings::account_settings;
use self::signals::Signals;
pub use self::sockets::{InheritError, InheritedAddresses, InheritedSockets};
pub use self::startup::{FirstAdministrator, Front, Startup, accept_older_database, finish_move, refused};
use self::summary::{Summary, greeting};
use crate::config::{Config, retention_warnings};
use crate::output_queue;
use crate::reload::ReadConfig;
use crate::traces;

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
    let data = config.data.clone();
    let read = Arc::new(read);
    let settings = read().map(|loaded| loaded.effective()).unwrap_or_default();
    let startup = Startup::new(&config, front).with_administrator(first.as_ref()).with_settings(settings);
    let opened = startup.with_sockets(inherited).open().await;
    if opened.is_err() && is_new {
        Directory::remove_unused(&data);
    }
    let (registry, server) = opened?;
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
    let watchdog = tokio::spawn(service_manager::watch());
    let mut running = Running::start(signals, registry, server, config, read.clone())?;
    while let Some(next) = running.next(front, &read).await {
        let (registry, server, config) = next;
        let signals = Signals::new().map_err(ServeError::Signals)?;
        let next = Running::start(signals, registry, server, config, read.clone())?;
        std::mem::replace(&mut running, next).retire();
    }
    running.close().await;
    watchdog.abort();
    traces::stop().await;
    Ok(())
}
