//! A running server with its tasks: signals, scheduled backups, and the change to another role among several
//! servers.

use std::sync::Arc;
use std::time::Duration;

use registry::Registry;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle};

use super::error::ServeError;
use super::signals::Signals;
use super::sockets::InheritedSockets;
use super::startup::{Front, Startup};
use super::{cluster, scheduled_backup, service_manager};
use crate::config::Config;
use crate::http::cluster::Role;
use crate::http::server::{Server, Stop};
use crate::reload::{ReadConfig, Reload};

/// The time to close the registry. Container runtimes kill the process 10 s after the signal.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(8);
/// The wait after a failed start in another role.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Running {
    registry: Registry,
    role: Arc<Role>,
    sockets: InheritedSockets,
    configuration: watch::Receiver<Config>,
    stop: Stop,
    serving: JoinHandle<()>,
    backups: JoinHandle<()>,
    signals: JoinHandle<()>,
    hurry: Arc<Notify>,
}

impl Running {
    /// Serves in a task.
    pub(super) fn start(
        signals: Signals,
        registry: Registry,
        mut server: Server,
        config: Config,
        read: Arc<ReadConfig>,
    ) -> Result<Self, ServeError> {
        let status = format!("serving {}://{}", server.scheme(), server.address());
        service_manager::ready(&status);
        let sockets = server.sockets();
        let [listen, redirect, metrics] =
            sockets.map_err(|source| ServeError::Listen { address: server.address(), source })?;
        let (in_force, configuration) = watch::channel(config);
        let backups = tokio::spawn(scheduled_backup::run(registry.clone(), configuration.clone()));
        let hurry = Arc::new(Notify::new());
        let (live, requests) = server.live();
        let reload = Reload {
            read,
            in_force,
            accounts: registry.accounts().clone(),
            tls: server.tls().cloned(),
            live,
        };
        let (stop, role) = (server.stop(), server.role());
        let signals = tokio::spawn(signals.handle(stop.clone(), status, hurry.clone(), reload, requests));
        Ok(Self {
            registry,
            role,
            sockets: InheritedSockets { listen, redirect, metrics },
            configuration,
            stop,
            serving: tokio::spawn(server.run()),
            backups,
            signals,
            hurry,
        })
    }

    /// Serves until a signal stops the server: then `None`. When the role changes, opens the server of the
    /// next role while this one goes on.
    pub(super) async fn next(
        &mut self,
        front: Front,
        read: &ReadConfig,
    ) -> Option<(Registry, Server, Config)> {
        let config = self.configuration.borrow().clone();
        tokio::select! {
            () = self.stop.begun() => return self.end().await,
            ended = &mut self.serving => return propagate(ended),
            () = cluster::role_change(&self.registry, &self.role, &config) => {}
        }
        loop {
            let config = self.configuration.borrow().clone();
            let settings = read().map(|loaded| loaded.effective()).unwrap_or_default();
            self.registry.release_directory();
            let opened = async {
                let sockets = self.sockets.duplicate()?;
                Startup::new(&config, front).with_settings(settings).with_sockets(sockets).open().await
            };
            let opened = tokio::select! {
                () = self.stop.begun() => return self.end().await,
                ended = &mut self.serving => return propagate(ended),
                opened = opened => opened,
            };
            match opened {
                Ok((registry, server)) => return Some((registry, server, config)),
                Err(error) => tracing::error!(%error, "cannot change the role of this server yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Waits for the end of a server that was told to stop.
    async fn end<T>(&mut self) -> Option<T> {
        // New connections are refused from here on.
        self.sockets = InheritedSockets::default();
        propagate((&mut self.serving).await)
    }

    /// Ends the requests under way, and closes the registry, in the background.
    pub(super) fn retire(self) {
        self.signals.abort();
        self.backups.abort();
        self.stop.gracefully();
        tokio::spawn(async move {
            // A panic was logged.
            let _ = self.serving.await;
            self.registry.close().await;
        });
    }

    /// Closes the registry of a server that has stopped.
    pub(super) async fn close(self) {
        self.backups.abort();
        tokio::select! {
            () = self.registry.close() => tracing::info!("stopped"),
            // All acknowledged writes are on the disk. The next start does the rest.
            () = tokio::time::sleep(CLOSE_TIMEOUT) => {
                tracing::warn!("stopped before the registry was closed: the disk is too slow; the next start does the rest");
            }
            () = self.hurry.notified() => tracing::warn!("stopped at once, before the registry was closed"),
        }
        self.signals.abort();
    }
}

/// Goes on with a panic of the server.
fn propagate<T>(ended: Result<(), JoinError>) -> Option<T> {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
    None
}
