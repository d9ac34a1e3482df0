//! The server of a data directory, as commands reach it: the running server through its control socket, or
//! else a server inside this process.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use registry::Registry;
use store::directory::Socket;
use store::{Directory, StoreError};

use super::registry::open_registry;
use crate::config::Config;
use crate::http::server::Inside;
use crate::tls;

/// The timeout for a server that is starting or stopping, and for another command that holds the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// The origin of URLs over a socket, where host names have no meaning.
pub const ORIGIN: &str = "http://localhost";

/// Why the server of a data directory cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("there is no data directory {0}")]
    Missing(String),
    #[error("cannot open the registry in {path}")]
    Open { path: String, source: StoreError },
    #[error("cannot make a registry in {path}")]
    Create { path: String, source: StoreError },
    #[error("cannot open {path}")]
    Registry { path: String, source: registry::Error },
    #[error("a command on the data directory {path} does not join a cluster")]
    Cluster { path: String },
    #[error("cannot open {path}")]
    Socket { path: String, source: StoreError },
    #[error("cannot open {path}")]
    Start { path: String, source: io::Error },
    #[error("{path} is in use by {holder}, which takes no commands")]
    InUse { path: String, holder: String },
    #[error("no server runs on {0}")]
    NotRunning(String),
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A server that answers the commands of this process.
pub struct LocalServer {
    pub http: reqwest::Client,
    /// The data directory.
    pub root: PathBuf,
    inside: Option<(Inside, Registry)>,
    /// Keeps the path of the control socket valid.
    _socket: Option<Socket>,
}

impl LocalServer {
    /// Reaches the server of the configured data directory. `create` makes a directory that does not exist;
    /// without it, a mistyped path is an error instead of an empty registry. Clients are made by `builder`.
    ///
    /// # Errors
    /// [`LocalError`].
    pub async fn connect(
        config: &Config,
        create: bool,
        builder: impl Fn() -> reqwest::ClientBuilder,
    ) -> Result<Self, LocalError> {
        let directory = open_directory(&config.data, create)?;
        let root = directory.root().to_owned();
        let path = || root.display().to_string();
        let socket_error = |source| LocalError::Socket { path: path(), source };
        // Loading the system's certificates takes longer than most commands, and a socket needs none.
        let client = |socket: &Path| {
            builder().tls_certs_only([]).unix_socket(socket).build().map_err(LocalError::Client)
        };
        let start = Instant::now();
        loop {
            if let Some(lock) = directory.try_lock().map_err(socket_error)? {
                // The registry takes the lock itself. If another server takes it in between, opening fails.
                drop(lock);
                let registry =
                    open_registry(config, directory.clone()).await.map_err(|source| match source {
                        registry::Error::Store(StoreError::InUse(_)) if config.cluster.address.is_some() => {
                            LocalError::Cluster { path: path() }
                        }
                        source => LocalError::Registry { path: path(), source },
                    })?;
                let socket = directory.command_socket().map_err(socket_error)?;
                let inside = Inside::start(registry.clone(), config, socket)
                    .map_err(|source| LocalError::Start { path: path(), source })?;
                let http = client(inside.socket())?;
                return Ok(Self { http, root, inside: Some((inside, registry)), _socket: None });
            }
            let socket = directory.control_socket().map_err(socket_error)?;
            let http = client(socket.path())?;
            // A server that is starting or stopping, or another command, holds the lock and does not answer.
            if http.get(format!("{ORIGIN}/healthz")).send().await.is_ok() {
                return Ok(Self { http, root, inside: None, _socket: Some(socket) });
            }
            if start.elapsed() > LOCK_TIMEOUT {
                return Err(LocalError::InUse { path: path(), holder: directory.lock_holder() });
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Reaches the running server of the configured data directory, and starts none.
    ///
    /// # Errors
    /// [`LocalError::NotRunning`], and those of [`Self::connect`].
    pub async fn connect_running(
        config: &Config,
        builder: impl Fn() -> reqwest::ClientBuilder,
    ) -> Result<Self, LocalError> {
        // Opening the directory would create its missing parts.
        let directory = Directory::find(&config.data)
            .ok_or_else(|| LocalError::Missing(config.data.display().to_string()))?;
        let root = directory.root().to_owned();
        let path = || root.display().to_string();
        let socket_error = |source| LocalError::Socket { path: path(), source };
        let socket = directory.control_socket().map_err(socket_error)?;
        if !socket.path().exists() || directory.try_lock().map_err(socket_error)?.is_some() {
            return Err(LocalError::NotRunning(path()));
        }
        let client = builder().tls_certs_only([]).unix_socket(socket.path()).build();
        let http = client.map_err(LocalError::Client)?;
        Ok(Self { http, root, inside: None, _socket: Some(socket) })
    }

    /// Stops the server inside this process, if there is one. All changes are then synced to the directory.
    pub async fn close(self) {
        if let Some((inside, registry)) = self.inside {
            drop(self.http);
            inside.stop().await;
            registry.close().await;
        }
    }
}

fn open_directory(data: &Path, create: bool) -> Result<Directory, LocalError> {
    let path = data.display().to_string();
    if create {
        Directory::open(data).map_err(|source| LocalError::Create { path, source })
    } else if data.exists() {
        Directory::open_existing(data).map_err(|source| LocalError::Open { path, source })
    } else {
        Err(LocalError::Missing(path))
    }
}

/// The directory of the server's own certificates and keys, if the configured data directory exists.
#[must_use]
pub fn tls_directory(config: &Config) -> Option<PathBuf> {
    Directory::find(&config.data).map(|directory| directory.own().join(tls::DIRECTORY))
}
