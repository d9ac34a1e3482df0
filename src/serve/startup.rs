//! Startup: opens data directory, registry, gateway and listeners, in this order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::AccountName;
use registry::Registry;
use registry::access::Accounts;
use store::{Directory, Metadata, StoreError};

use super::error::ServeError;
use super::settings::{account_settings, database, objects, policy};
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
        let directory = Directory::open(&self.config.data).map_err(registry::Error::from)?;
        let key = self.check_directory(&directory)?;
        wait_for_command(&directory).await;
        let registry = open_registry(self.config, directory.clone()).await?;
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
        self.prepare_accounts(registry.accounts()).await?;
        let config = self.config;
        let mirror = match self.front {
            Front::Registry => upstreams::open(registry, config)?,
            Front::Gateway => None,
        };
        let gateway = gateway.map(|gateway| Arc::new(gateway) as _);
        let listener = self.sockets.listen.take();
        let mut server = Server::bind(registry.clone(), gateway, mirror, config, listener)
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

    /// Creates the first administrator, and refuses to serve without accounts unless the configuration allows it.
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
    if first.is_some() || has_accounts(config) {
        return None;
    }
    match Directory::has_had_accounts(&config.data) {
        Ok(existed) => {
            config.accounts_lost(&absolute(&config.data), existed).or_else(|| config.exposed(false))
        }
        Err(error) => Some(ConfigError::new(error.to_string()).about("data")),
    }
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

/// Whether a server with this configuration has accounts, read without opening the registry. An unreadable file counts
/// as none. A server of PostgreSQL that does not answer counts as having some, because opening it reports why.
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

/// Opens the registry of a data directory. The first start adopts the content of a directory of distribution.
///
/// # Errors
/// [`registry::Error`] if the directory is in use or unreadable.
pub async fn open_registry(config: &Config, directory: Directory) -> Result<Registry, registry::Error> {
    let progress = |read: u64| {
        if read.is_multiple_of(1000) {
            tracing::info!(repositories = read, "reading what is in the data directory");
        }
    };
    let directory = directory.with_objects(objects(config)?).with_database(database(config)?);
    // Boxed, so that the futures of all callers stay small.
    let opening = Registry::open(directory, policy(config), account_settings(config), progress);
    let (registry, opened) = Box::pin(opening).await?;
    if let Some(adopted) = &opened.adopted {
        tracing::info!(
            repositories = adopted.repositories,
            problems = adopted.problems.len(),
            "read the repositories of the data directory: it was another registry's, or its database was missing"
        );
        if adopted.deleted > 0 {
            tracing::info!(
                manifests = adopted.deleted,
                "skipped manifests that were deleted in the old registry"
            );
        }
        adopted.log_problems();
    }
    opened.changed.log_changes();
    Ok(registry)
}
