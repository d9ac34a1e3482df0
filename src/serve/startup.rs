//! Startup: opens data directory, registry, gateway and listeners, in this order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::AccountName;
use registry::Registry;
use registry::access::Accounts;
use store::{Directory, Metadata, StoreError};

use super::address_space;
use super::cluster;
use super::error::ServeError;
use super::registry::open_registry;
use super::settings::database;
use super::sockets::InheritedSockets;
use crate::config::{Config, ConfigError, Effective};
use crate::gateway::Gateway;
use crate::http::server::{Server, descriptors};
use crate::tls::Acceptor;
use crate::upstreams;

/// The time for which a starting server waits for a command that works on its directory.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const COMMAND_RETRY: Duration = Duration::from_millis(100);

/// The origin of the content that the server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The data directory.
    Registry,
    /// An upstream registry.
    Gateway,
}

/// The administrator that a first start creates.
#[derive(Clone)]
pub struct FirstAdministrator {
    pub name: AccountName,
    pub password: String,
}

/// A start of a server, with its options.
pub struct Startup<'c> {
    config: &'c Config,
    front: Front,
    administrator: Option<&'c FirstAdministrator>,
    settings: Vec<Effective>,
    sockets: InheritedSockets,
}

impl<'c> Startup<'c> {
    #[must_use]
    pub fn new(config: &'c Config, front: Front) -> Self {
        Self {
            config,
            front,
            administrator: None,
            settings: Vec::new(),
            sockets: InheritedSockets::default(),
        }
    }

    /// Creates the administrator if it does not exist.
    #[must_use]
    pub fn with_administrator(mut self, administrator: Option<&'c FirstAdministrator>) -> Self {
        self.administrator = administrator;
        self
    }

    /// Shows the settings with their origins to administrators.
    #[must_use]
    pub fn with_settings(mut self, settings: Vec<Effective>) -> Self {
        self.settings = settings;
        self
    }

    /// Listens on sockets of the service manager.
    #[must_use]
    pub fn with_sockets(mut self, sockets: InheritedSockets) -> Self {
        self.sockets = sockets;
        self
    }

    /// Opens the registry and listens. A failed start closes the registry again.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn open(mut self) -> Result<(Registry, Server), ServeError> {
        descriptors::raise_limit();
        address_space::warn_of_limit();
        let directory = Directory::open(&self.config.data).map_err(registry::Error::from)?;
        let key = self.check_directory(&directory)?;
        wait_for_command(&directory).await;
        let registry = match self.config.cluster.address {
            Some(_) if self.front == Front::Gateway => return Err(ServeError::GatewayCluster),
            // Boxed, so that the futures of all callers stay small.
            Some(_) => Box::pin(cluster::open_registry(self.config, &directory)).await?,
            None => open_registry(self.config, directory.clone()).await?,
        };
        match self.listen(&registry, &directory, key).await {
            Ok(server) => Ok((registry, server)),
            Err(error) => {
                registry.close().await;
                Err(error)
            }
        }
    }

    /// Checks that the directory is one of a registry or of a gateway. Returns the key of a gateway.
    fn check_directory(&self, directory: &Directory) -> Result<Option<[u8; 32]>, ServeError> {
        let key = directory.gateway_key().map_err(registry::Error::from)?;
        match self.front {
            Front::Gateway if self.config.blobs.url.is_some() => Err(ServeError::GatewayBlobs),
            Front::Gateway if self.config.metadata.url.is_some() => Err(ServeError::GatewayMetadata),
            Front::Registry if key.is_some() => Err(ServeError::IsAGateways(directory.root().to_owned())),
            Front::Gateway
                if key.is_none() && !directory.is_without_content().map_err(registry::Error::from)? =>
            {
                Err(ServeError::HoldsImages(directory.root().to_owned()))
            }
            _ => Ok(key),
        }
    }

    async fn listen(
        &mut self,
        registry: &Registry,
        directory: &Directory,
        key: Option<[u8; 32]>,
    ) -> Result<Server, ServeError> {
        let gateway = match self.front {
            Front::Registry => None,
            Front::Gateway => Some(self.open_gateway(registry, directory, key).await?),
        };
        let config = self.config;
        if !registry.is_replica() {
            self.prepare_accounts(registry.accounts()).await?;
        }
        let mirror = match self.front {
            // The primary answers for images of upstreams.
            Front::Registry if !registry.is_replica() => upstreams::open(registry, config)?,
            Front::Registry | Front::Gateway => None,
        };
        let role = cluster::role(registry, config).await?;
        let gateway = gateway.map(|gateway| Arc::new(gateway) as _);
        let listener = self.sockets.listen.take();
        let mut server = Server::bind(registry.clone(), gateway, mirror, role, config, listener)
            .await
            .map_err(|source| ServeError::Listen { address: config.listen, source })?;
        server.describe(&self.settings);
        if let Some(tls) = Acceptor::open(config, registry.directory().own())? {
            if let Some(address) = config.tls.redirect {
                let redirected =
                    server.redirect(address, tls.clone(), config, self.sockets.redirect.take()).await;
                redirected.map_err(|source| ServeError::Redirect { address, source })?;
            }
            server.secure(tls);
        }
        if let Some(address) = config.metrics.listen {
            server
                .serve_metrics(address, self.sockets.metrics.take())
                .map_err(|source| ServeError::Metrics { address, source })?;
        }
        let socket = registry.directory().control_socket().map_err(registry::Error::from)?;
        let path = socket.path().to_owned();
        match server.bind_control(socket) {
            // Pulls and deletions go on.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => tracing::error!(
                %error,
                socket = %path.display(),
                "no space left for the control socket: commands need --server until the next start"
            ),
            bound => bound.map_err(|source| ServeError::Control { path, source })?,
        }
        Ok(server)
    }

    /// Opens the gateway. Its first start creates the key, in a directory without repositories.
    async fn open_gateway(
        &self,
        registry: &Registry,
        directory: &Directory,
        key: Option<[u8; 32]>,
    ) -> Result<Gateway, ServeError> {
        let key = match key {
            Some(key) => key,
            // The directory may have accounts already.
            None if registry.known_repositories(None, 1).await?.is_empty() => {
                let mut key = [0; 32];
                aws_lc_rs::rand::fill(&mut key).map_err(|_| ServeError::Random)?;
                directory.make_gateway(&key).map_err(registry::Error::from)?;
                key
            }
            None => return Err(ServeError::HoldsImages(directory.root().to_owned())),
        };
        Ok(Gateway::new(registry.clone(), &key, self.config)?)
    }

    /// Creates the first administrator, and refuses to serve without accounts unless the configuration allows
    /// it.
    async fn prepare_accounts(&self, accounts: &Accounts) -> Result<(), ServeError> {
        if let Some(FirstAdministrator { name, password }) = self.administrator
            && accounts.ensure_administrator(name, password).await?
        {
            tracing::info!(account = %name, "made the first administrator");
        }
        if accounts.exist().await? {
            return Ok(());
        }
        let refused = self.config.accounts_lost(&absolute(&self.config.data), accounts.have_existed());
        match refused.or_else(|| self.config.exposed(false)) {
            Some(refused) => Err(ServeError::Exposed(refused)),
            None => Ok(()),
        }
    }
}

/// Returns the reason to refuse to serve without accounts, without opening or changing the data directory.
#[must_use]
pub fn refused(config: &Config, first: Option<&FirstAdministrator>) -> Option<ConfigError> {
    if first.is_some() || has_accounts(config) || may_restore(config) {
        return None;
    }
    match Directory::has_had_accounts(&config.data) {
        Ok(existed) => {
            config.accounts_lost(&absolute(&config.data), existed).or_else(|| config.exposed(false))
        }
        Err(error) => Some(ConfigError::new(error.to_string()).about("data")),
    }
}

/// Finishes a move of the registry that a crash has interrupted after its last step: the accounts may be in
/// the new place.
///
/// # Errors
/// [`StoreError`] if the records cannot be written.
pub fn finish_move(config: &Config) -> Result<(), StoreError> {
    Directory::finish_relocation_at(&config.data)
}

/// Whether a start may restore accounts from a bucket into an empty directory. They are looked for again
/// afterwards.
fn may_restore(config: &Config) -> bool {
    config.blobs.ship_metadata.is_some() && config.blobs.url.is_some()
}

/// Accepts the database of the data directory although it is older than its last commit.
///
/// # Errors
/// [`StoreError`] if the directory is in use, or the mark cannot be removed.
pub fn accept_older_database(config: &Config) -> Result<(), StoreError> {
    if config.metadata.url.is_some() {
        let reason = "--accept-older-database is for metadata in a file, and metadata.url is set";
        return Err(StoreError::Directory(reason.to_owned()));
    }
    let Some(directory) = Directory::find(&config.data) else { return Ok(()) };
    let _lock = directory.lock()?;
    Metadata::accept_older(&directory.metadata())
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether a server with this configuration has accounts, read without opening the registry. An unreadable
/// file counts as none. A server of PostgreSQL that does not answer counts as having some, because opening it
/// reports why.
fn has_accounts(config: &Config) -> bool {
    config.auth.htpasswd.is_some() || config.auth.forward.is_some() || {
        if let Ok(Some(database)) = database(config) {
            return Metadata::holds_users_on(&database).unwrap_or(true);
        }
        Directory::find(&config.data).is_some_and(|directory| {
            // Without the setting, opening the directory reports it.
            directory.check_metadata_file().is_err()
                || Metadata::holds_users(&directory.metadata()).unwrap_or(false)
        })
    }
}

/// Waits for the end of a command that works on the directory, such as `wharfinger check` of a cron job.
async fn wait_for_command(directory: &Directory) {
    let begun = Instant::now();
    let mut is_logged = false;
    while directory.is_locked_by_command() && begun.elapsed() < COMMAND_TIMEOUT {
        if !std::mem::replace(&mut is_logged, true) {
            tracing::warn!(
                holder = directory.lock_holder(),
                "a command works on the data directory; the server starts after its end, or gives up after a minute"
            );
        }
        tokio::time::sleep(COMMAND_RETRY).await;
    }
}
