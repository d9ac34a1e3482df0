//! Serving: opens the registry, listens, says so, and ends in order.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use registry::access::{AccountSettings, Accounts, AuditSink};
use registry::{Policy, Registry};
use store::accounts::AccountName;
use store::{Directory, Metadata};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::audit_log;
use crate::config::{Config, Mistake};
use crate::http::server::{Server, Stop};

/// Why the server could not start. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It would be open to everyone, and nobody said that it should be.
    #[error("{}", .0.message)]
    Exposed(Mistake),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] registry::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}{}", hint(source))]
    Listen {
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
    config.exposed(accounts.in_force()).map_or(Ok(()), |exposed| Err(ServeError::Exposed(exposed)))
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
    let registry = open_registry(config, directory).await?;
    let listening = async {
        prepare(registry.accounts(), config, first).await?;
        listen(&registry, config).await
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
        if read.is_multiple_of(1000) {
            tracing::info!(repositories = read, "reading what is in the data directory");
        }
    };
    let (registry, opened) =
        Registry::open(directory, policy(config), account_settings(config), progress).await?;
    if let Some(adopted) = &opened.adopted {
        tracing::info!(
            repositories = adopted.repositories,
            problems = adopted.problems.len(),
            "the data directory was another registry's, or had lost its database; what is in it was taken over"
        );
        for problem in &adopted.problems {
            tracing::warn!(%problem, "could not be taken over");
        }
    }
    Ok(registry)
}

async fn listen(registry: &Registry, config: &Config) -> Result<Server, ServeError> {
    let mut server = Server::bind(registry.clone(), config)
        .await
        .map_err(|source| ServeError::Listen { address: config.listen, source })?;
    let socket = registry.directory().control_socket().map_err(registry::Error::from)?;
    let path = socket.path().to_owned();
    server.bind_control(socket).map_err(|source| ServeError::Control { path, source })?;
    Ok(server)
}

/// Serves until a signal ends it: the first SIGTERM or SIGINT lets requests under way come to their end, the second
/// does not.
///
/// # Errors
/// [`ServeError`], before anything is listened on. Once it serves, nothing ends it but a signal.
pub async fn serve(config: Config, first: Option<FirstAdministrator>) -> Result<(), ServeError> {
    let (terminate, interrupt) = signals().map_err(ServeError::Signals)?;
    let (registry, server) = open(&config, first.as_ref()).await?;
    // A closed standard output is no reason not to serve.
    let _ = greet(&mut io::stdout().lock(), server.address(), &config);
    let listener = tokio::spawn(stop_on_signals(server.stop(), terminate, interrupt));
    server.run().await;
    listener.abort();
    registry.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn signals() -> io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

async fn stop_on_signals(stop: Stop, mut terminate: Signal, mut interrupt: Signal) {
    for attempt in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if attempt == 0 {
            tracing::info!("stopping when the requests under way have ended; a second signal stops at once");
            stop.gracefully();
        } else {
            stop.at_once();
        }
    }
}

/// How to use it, for the person who started it.
fn greet(out: &mut impl Write, address: SocketAddr, config: &Config) -> io::Result<()> {
    let host = match &config.external_url {
        Some(url) => url.as_str().split_once("://").map_or(url.as_str(), |(_, host)| host).to_owned(),
        None if address.ip().is_loopback() || address.ip().is_unspecified() => {
            format!("localhost:{}", address.port())
        }
        None => address.to_string(),
    };
    writeln!(out, "listening on http://{address}")?;
    writeln!(out, "  push    docker push {host}/official/ubuntu:14.04")?;
    writeln!(out, "  pull    docker pull {host}/official/ubuntu:14.04")?;
    writeln!(out, "  search  docker search {host}/ubuntu")?;
    out.flush()
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
#[must_use]
pub fn has_accounts(config: &Config) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(address: &str) -> String {
        let mut out = Vec::new();
        greet(&mut out, address.parse().unwrap(), &Config::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_greeting_names_the_address_as_docker_takes_it() {
        let local = greeting("127.0.0.1:5001");
        assert!(local.starts_with("listening on http://127.0.0.1:5001\n"), "{local}");
        assert!(local.contains("docker search localhost:5001/ubuntu"), "{local}");
        assert_eq!(local.lines().count(), 4);
        assert!(greeting("192.168.1.2:80").contains("docker pull 192.168.1.2:80/"));
    }
}
