//! Serving: opens the registry, listens, says so, and ends in order.

mod local;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use accounts::AccountName;
use registry::access::{AccountSettings, Accounts, AuditSink, LocationAccess};
use registry::{Policy, Registry};
use store::{Directory, Metadata, StoreError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::config::{Admits, Config, ConfigError};
use crate::gateway::{Gateway, SetupError};
use crate::host::Host;
use crate::http::server::{Server, Stop};
use crate::reload::{ReadConfig, Reload};
use crate::tls::trust::{self, Trust};
use crate::tls::{self, Acceptor};
use crate::{audit_log, output_queue};

pub use local::{LocalError, LocalServer, ORIGIN, tls_directory};
pub use store::metadata::SCHEMA_VERSION;

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// The images in the data directory.
    Registry,
    /// Those of a registry behind.
    Gateway,
}

/// Why the server could not start. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It would be open to everyone, and nobody said that it should be.
    #[error("{}", .0.message)]
    Exposed(ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] registry::Error),
    /// There is no certificate for HTTPS.
    #[error("cannot speak HTTPS: {0}")]
    Tls(#[from] tls::OpenError),
    /// The directory is one of the other kind.
    #[error(
        "{} keeps the accounts of a gateway, and no images; start it with `wharfinger gateway`, or give the registry \
         a data directory of its own", .0.display()
    )]
    IsAGateways(PathBuf),
    /// The directory is one of the other kind.
    #[error(
        "{} holds images; a gateway keeps accounts only, so give it a data directory of its own, or serve these \
         images with `wharfinger serve`, without a gateway", .0.display()
    )]
    HoldsImages(PathBuf),
    /// The gateway cannot be set up.
    #[error(transparent)]
    Gateway(#[from] SetupError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address for plain HTTP cannot be listened on.
    #[error("cannot listen on {address}, which tls.redirect names{}", redirect_hint(source))]
    Redirect {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The control socket cannot be made.
    #[error("cannot make the control socket {}", path.display())]
    Control {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

/// What can be done about an address that cannot be listened on.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": another process listens there; choose another port with --listen",
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 need a privilege; choose another port with --listen"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        _ => "",
    }
}

/// The same for the address of plain HTTP.
fn redirect_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": another process listens there; choose another port",
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 need a privilege; choose another port, and forward port 80 to it"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        _ => "",
    }
}

/// The administrator that a first start makes.
#[derive(Clone)]
pub struct FirstAdministrator {
    /// Its name.
    pub name: AccountName,
    /// Its password.
    pub password: String,
}

/// Makes the first administrator, if one is named and not there yet; and then looks whether it is safe to listen.
///
/// # Errors
/// [`ServeError::Exposed`], [`ServeError::Data`].
pub async fn prepare(
    accounts: &Accounts,
    config: &Config,
    first: Option<&FirstAdministrator>,
) -> Result<(), ServeError> {
    if let Some(FirstAdministrator { name, password }) = first
        && accounts.ensure_administrator(name, password).await?
    {
        tracing::info!(account = %name, "made the first administrator");
    }
    if accounts.exist().await? {
        return Ok(());
    }
    let refused = config.accounts_lost(&absolute(&config.data), accounts.have_existed());
    refused.or_else(|| config.exposed(false)).map_or(Ok(()), |refused| Err(ServeError::Exposed(refused)))
}

/// Why a server with this configuration would not be served, as far as that can be told without making or changing
/// anything of its data.
#[must_use]
pub fn refused(config: &Config, first: Option<&FirstAdministrator>) -> Option<ConfigError> {
    if first.is_some() || has_accounts(config) {
        return None;
    }
    let existed = Directory::has_had_accounts(&config.data);
    config.accounts_lost(&absolute(&config.data), existed).or_else(|| config.exposed(false))
}

/// Takes the database of the data directory as it is, though it is older than its last commit.
///
/// # Errors
/// [`StoreError`] if the directory is in use, or the mark cannot be removed.
pub fn accept_older_database(config: &Config) -> Result<(), StoreError> {
    let Some(directory) = Directory::find(&config.data) else { return Ok(()) };
    let _lock = directory.lock()?;
    Metadata::accept_older(&directory.metadata())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Opens the registry of the configuration and listens, so that whatever can fail fails now.
///
/// # Errors
/// [`ServeError`].
pub async fn open(
    config: &Config,
    first: Option<&FirstAdministrator>,
) -> Result<(Registry, Server), ServeError> {
    let directory = Directory::open(&config.data).map_err(registry::Error::from)?;
    if directory.gateway_key().map_err(registry::Error::from)?.is_some() {
        return Err(ServeError::IsAGateways(directory.root().to_owned()));
    }
    let registry = open_registry(config, directory).await?;
    listen_or_close(registry, None, config, first).await
}

/// The same for a gateway: the directory keeps its accounts, and content is behind it.
///
/// # Errors
/// [`ServeError`].
pub async fn open_gateway(
    config: &Config,
    first: Option<&FirstAdministrator>,
) -> Result<(Registry, Server), ServeError> {
    let directory = Directory::open(&config.data).map_err(registry::Error::from)?;
    let key = directory.gateway_key().map_err(registry::Error::from)?;
    let holds_images = || ServeError::HoldsImages(directory.root().to_owned());
    if key.is_none() && !directory.is_without_content().map_err(registry::Error::from)? {
        return Err(holds_images());
    }
    let registry = open_registry(config, directory.clone()).await?;
    let set_up = async {
        let key = match key {
            Some(key) => key,
            // Accounts may have been made here before the gateway first runs.
            None if registry.known_repositories(None, 1).await?.is_empty() => {
                let mut key = [0; 32];
                aws_lc_rs::rand::fill(&mut key).map_err(|_| ServeError::Random)?;
                directory.make_gateway(&key).map_err(registry::Error::from)?;
                key
            }
            None => return Err(holds_images()),
        };
        Ok(Gateway::new(registry.clone(), &key, config)?)
    };
    let gateway: Result<Gateway, ServeError> = set_up.await;
    match gateway {
        Ok(gateway) => listen_or_close(registry, Some(gateway), config, first).await,
        Err(error) => {
            registry.close().await;
            Err(error)
        }
    }
}

async fn listen_or_close(
    registry: Registry,
    gateway: Option<Gateway>,
    config: &Config,
    first: Option<&FirstAdministrator>,
) -> Result<(Registry, Server), ServeError> {
    let listening = async {
        prepare(registry.accounts(), config, first).await?;
        listen(&registry, gateway, config).await
    };
    match listening.await {
        Ok(server) => Ok((registry, server)),
        Err(error) => {
            registry.close().await;
            Err(error)
        }
    }
}

/// Opens the registry of a data directory with the policy of the configuration. A directory of another registry is
/// taken over, which is logged.
///
/// # Errors
/// [`registry::Error`] if the directory is in use or something of it cannot be opened.
pub async fn open_registry(config: &Config, directory: Directory) -> Result<Registry, registry::Error> {
    let progress = |read: u64| {
        if read > 0 && read.is_multiple_of(1000) {
            tracing::info!(repositories = read, "reading what is in the data directory");
        }
    };
    let (registry, opened) =
        Registry::open(directory, policy(config), account_settings(config), progress).await?;
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

async fn listen(
    registry: &Registry,
    gateway: Option<Gateway>,
    config: &Config,
) -> Result<Server, ServeError> {
    let mut server = Server::bind(registry.clone(), gateway.map(|gateway| Box::new(gateway) as _), config)
        .await
        .map_err(|source| ServeError::Listen { address: config.listen, source })?;
    if let Some(tls) = Acceptor::open(config, registry.directory().own())? {
        if let Some(address) = config.tls.redirect {
            let redirected = server.redirect(address, tls.clone(), config).await;
            redirected.map_err(|source| ServeError::Redirect { address, source })?;
        }
        server.secure(tls);
    }
    let socket = registry.directory().control_socket().map_err(registry::Error::from)?;
    let path = socket.path().to_owned();
    server.bind_control(socket).map_err(|source| ServeError::Control { path, source })?;
    Ok(server)
}

/// Serves until a signal ends it. The first SIGTERM or SIGINT lets requests under way come to their end, the second does
/// not. SIGHUP reads again what `read` gives and what the configuration names.
///
/// # Errors
/// [`ServeError`], before anything is listened on. Once it serves, nothing ends it but a signal.
pub async fn serve(
    config: Config,
    file: Option<PathBuf>,
    read: ReadConfig,
    front: Front,
    first: Option<FirstAdministrator>,
) -> Result<(), ServeError> {
    let signals = Signals::new().map_err(ServeError::Signals)?;
    let is_new = !config.data.exists();
    let opened = match front {
        Front::Registry => open(&config, first.as_ref()).await,
        Front::Gateway => open_gateway(&config, first.as_ref()).await,
    };
    if opened.is_err() && is_new {
        Directory::remove_unused(&config.data);
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
    // In one piece, so that who waits for the first line has the rest as well.
    output_queue::stdout().push(greeting(&server, &config, &summary).as_bytes());
    let hurry = Arc::new(Notify::new());
    let limit = config.limits.shutdown_timeout;
    let reload = Reload {
        read: Arc::new(read),
        in_force: config,
        accounts: registry.accounts().clone(),
        tls: server.tls().cloned(),
    };
    let handler = tokio::spawn(signals.handle(server.stop(), limit, hurry.clone(), reload));
    server.run().await;
    tokio::select! {
        () = registry.close() => tracing::info!("stopped"),
        // Whatever was acknowledged is on the disk by now; the rest is done at the next start.
        () = hurry.notified() => tracing::warn!("stopped at once, before the registry was closed"),
    }
    handler.abort();
    Ok(())
}

/// The signals that a server takes.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Handles signals for ever. `hurry` is told of each signal to stop after the first.
    async fn handle(mut self, stop: Stop, limit: Duration, hurry: Arc<Notify>, mut reload: Reload) {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hangup.recv() => {
                    if !is_stopping {
                        // A signal to stop is not to wait for files that are read slowly.
                        tokio::select! {
                            () = reload.run() => continue,
                            _ = self.terminate.recv() => {}
                            _ = self.interrupt.recv() => {}
                        }
                    } else {
                        continue;
                    }
                }
            }
            if is_stopping {
                stop.at_once();
                hurry.notify_waiters();
            } else {
                is_stopping = true;
                tracing::info!(
                    limit_seconds = limit.as_secs_f64(),
                    "stopping: no more connections are taken, requests under way may end within \
                     limits.shutdown_timeout; a second signal stops at once"
                );
                stop.gracefully();
            }
        }
    }
}

/// The state of a server that starts, in one line: an operator sees there that it is the wrong directory, or open.
struct Summary {
    data: PathBuf,
    accounts: String,
    scheme: &'static str,
    file: String,
}

impl Summary {
    async fn of(registry: &Registry, server: &Server, file: Option<&Path>) -> Result<Self, ServeError> {
        let accounts = registry.accounts();
        let accounts = match accounts.count_users().await? {
            0 if !accounts.in_force() => {
                "no accounts: anyone who reaches this port may pull, push, overwrite and delete".to_owned()
            }
            1 => "1 account".to_owned(),
            users => format!("{users} accounts"),
        };
        Ok(Self {
            data: registry.directory().root().to_owned(),
            accounts,
            scheme: if server.tls().is_some() { "HTTPS" } else { "HTTP" },
            file: file.map_or("none".to_owned(), |file| absolute(file).display().to_string()),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data, accounts, scheme, file } = self;
        let (version, data) = (env!("CARGO_PKG_VERSION"), data.display());
        write!(f, "wharfinger {version}: data {data}; {scheme}; configuration {file}; {accounts}")
    }
}

/// How to use it, for the person who started it: whole lines.
fn greeting(server: &Server, config: &Config, summary: &Summary) -> String {
    let address = server.address();
    let origin = server.tls().map(Acceptor::origin);
    let host = address_for_clients(address, origin, config);
    let mut greeting = format!(
        "listening on {}://{address}\n{summary}\n  push    docker push {host}/official/ubuntu:14.04\n  pull    docker pull \
         {host}/official/ubuntu:14.04\n  search  docker search {host}/ubuntu\n",
        server.scheme()
    );
    if let Some(tls::Origin::SelfSigned { certificate, hosts }) = origin {
        let port = config.external_url.as_ref().and_then(|url| port_of(url.as_str()));
        let trust = Trust { certificate, hosts, port: port.unwrap_or(address.port()) };
        greeting.push_str(&format!("\n{trust}"));
    }
    greeting
}

/// Host and port as clients write them before the name of an image.
fn address_for_clients(address: SocketAddr, origin: Option<&tls::Origin>, config: &Config) -> String {
    if let Some(url) = &config.external_url {
        return url.as_str().split_once("://").map_or(url.as_str(), |(_, host)| host).to_owned();
    }
    let hosts = match origin {
        Some(tls::Origin::SelfSigned { hosts, .. } | tls::Origin::Authority { hosts }) => hosts.clone(),
        Some(tls::Origin::Files) => {
            let chain = config.tls.certificate.as_ref().and_then(|file| tls::pair::certificates(file).ok());
            chain.and_then(|chain| chain.into_iter().next()).map(|first| first.hosts).unwrap_or_default()
        }
        None => Vec::new(),
    };
    match hosts.first() {
        Some(host @ Host::Name(name)) if !name.starts_with("*.") => trust::registry(host, address.port()),
        Some(host @ Host::Address(_)) => trust::registry(host, address.port()),
        _ if address.ip().is_loopback() || address.ip().is_unspecified() => {
            format!("localhost:{}", address.port())
        }
        _ => address.to_string(),
    }
}

/// The port of a URL, if it names one or its scheme has one.
fn port_of(url: &str) -> Option<u16> {
    reqwest::Url::parse(url).ok()?.port_or_known_default()
}

fn policy(config: &Config) -> Policy {
    Policy {
        delete: config.registry.delete,
        sparse_indexes: config.registry.sparse_indexes,
        sparse_images: config.registry.sparse_images,
        manifest_bytes: config.limits.manifest_bytes,
        blob_bytes: config.limits.blob_bytes,
        upload_expiry: config.registry.upload_expiry,
        cache_bytes: config.cache.manifest_bytes,
    }
}

/// Whether a server with this configuration would have accounts, as far as that can be told without opening its data.
/// What cannot be read holds none.
fn has_accounts(config: &Config) -> bool {
    config.auth.htpasswd.is_some() || config.auth.forward.is_some() || {
        let metadata = Directory::find(&config.data).map(|directory| directory.metadata());
        metadata.is_some_and(|metadata| Metadata::holds_users(&metadata).unwrap_or(false))
    }
}

/// What the operator decided about accounts.
#[must_use]
pub fn account_settings(config: &Config) -> AccountSettings {
    let auth = &config.auth;
    AccountSettings {
        htpasswd: auth.htpasswd.clone(),
        forward: auth.forward.is_some(),
        required: auth.required,
        open: config.open,
        location_rules: auth
            .locations
            .iter()
            .map(|location| (location.path.clone(), location_rules(location.auth)))
            .collect(),
        service: auth.service.clone(),
        issuer: auth.service.clone(),
        token_lifetime: auth.token_lifetime,
        remember: auth.remember,
        self_registration: auth.self_registration,
        audit_retention: config.audit.retention,
        audit_sink: config.audit.log.then(|| Arc::new(audit_log::print) as AuditSink),
        ..AccountSettings::default()
    }
}

fn location_rules(admits: Admits) -> LocationAccess {
    match admits {
        Admits::Open => LocationAccess::Everyone,
        Admits::Basic | Admits::Token => LocationAccess::Accounts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(address: &str, hosts: &[&str]) -> String {
        let origin = tls::Origin::SelfSigned {
            certificate: "self-signed.pem".into(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        };
        address_for_clients(address.parse().unwrap(), Some(&origin), &Config::default())
    }

    #[test]
    fn clients_are_told_the_address_as_docker_takes_it() {
        assert_eq!(clients("127.0.0.1:5001", &[]), "localhost:5001");
        assert_eq!(clients("192.168.1.2:80", &[]), "192.168.1.2:80");
        assert_eq!(clients("0.0.0.0:443", &["registry.example.com", "10.0.0.1"]), "registry.example.com");
        assert_eq!(clients("0.0.0.0:5000", &["registry.example.com"]), "registry.example.com:5000");
        assert_eq!(clients("0.0.0.0:5000", &["*.example.com"]), "localhost:5000");
    }

    #[test]
    fn the_port_of_an_external_url() {
        assert_eq!(port_of("https://registry.example.com"), Some(443));
        assert_eq!(port_of("https://registry.example.com:8443/r"), Some(8443));
    }
}
