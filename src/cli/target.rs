//! The flags that select the registry of a command, and the connection to it.
//!
//! Commands use the HTTP interface only, so that they see the same as clients and cannot disagree with the
//! caches of a running server. With `--server`, that is any server. Without it, it is the server of the data
//! directory: the running one through its control socket, or else a server inside this process, for the
//! duration of the command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{Credentials, Secret};
use clap::{Arg, Args};
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::connection::Connection;
use super::output::{self, Failure};
use super::owner;
use super::password::{self, Passwords};
use super::settings::DataDir;
use super::unreachable;
use crate::byte_order_mark;
use crate::config::{Loaded, Origin, TOKEN_VARIABLE};
use crate::operator_file;
use crate::serve::{LocalError, LocalServer};
use crate::tls;
use crate::tls::client::System;

/// The flags that select the registry.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Target {
    /// Use the registry of a server, such as http://localhost:5000, instead of a data directory
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config"])]
    server: Option<String>,

    /// Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN
    #[arg(long = "user", value_name = "NAME", requires = "server")]
    login_name: Option<String>,

    /// Read passwords from standard input, one per line, instead of asking for them
    #[arg(long)]
    password_stdin: bool,

    /// Trust the certificates in this PEM file in addition to those of the system
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,

    #[command(flatten)]
    data: DataDir,
}

/// The arguments for a server.
const SERVER_FLAGS: [&str; 4] = ["server", "login_name", "password_stdin", "ca"];

/// Hides an argument for a server from the help of a command that refuses servers.
pub(super) fn hide_server_flags(argument: Arg) -> Arg {
    let is_hidden = SERVER_FLAGS.contains(&argument.get_id().as_str());
    if is_hidden { argument.hide(true) } else { argument }
}

/// The setting that a command needs for a running server.
const PLACE: &[&str] = &["data"];

/// The timeout of a request. Lists and manifests take far less; an upload of a manifest waits for a disk.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Target {
    /// The registry of a data directory.
    pub(super) fn of(data: DataDir) -> Self {
        Self { data, ..Self::default() }
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        if self.password_stdin && self.login_name.is_none() {
            return Err(Failure::usage("--password-stdin is given, but this command needs no password")
                .help("omit it, or name the user: --server URL --user NAME --password-stdin"));
        }
        self.open(self.credentials()?, false).await
    }

    /// Refuses `--server`.
    pub(super) fn refuse_server(&self, why: &str) -> Result<(), Failure> {
        match &self.server {
            Some(_) => Err(Failure::usage("this command does not work with --server").help(why)),
            None => Ok(()),
        }
    }

    /// Loads the configuration of the data directory.
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        Ok(self.data.load()?)
    }

    /// Loads the configuration for a command that needs the place of the data directory alone.
    pub(super) fn load_place(&self) -> Result<Loaded, Failure> {
        Ok(self.data.load_for(PLACE)?.0)
    }

    /// Connects to the server of the data directory. If one runs, the command keeps its privileges, because
    /// it changes nothing in the directory.
    pub(super) async fn connect_without_owner(&self) -> Result<Connection, Failure> {
        let (loaded, _) = self.data.load_for(PLACE)?;
        match LocalServer::connect_running(&loaded.config, builder).await {
            Ok(server) => Ok(Connection::to_data_directory(server, self.flags())),
            Err(_) => self.connect().await,
        }
    }

    /// Connects to a server, and starts none inside this process.
    pub(super) async fn connect_running(&self) -> Result<Connection, Failure> {
        if self.server.is_some() {
            return self.connect().await;
        }
        let loaded = self.load_place()?;
        let is_named = loaded.origin("data") != Origin::Default;
        owner::become_owner(&loaded.config.data)?;
        let server = LocalServer::connect_running(&loaded.config, builder).await;
        let server = server.map_err(|error| explain(&error, is_named))?;
        Ok(Connection::to_data_directory(server, self.flags()))
    }

    /// Connects with credentials that were read before, for commands that read further passwords.
    pub(super) async fn connect_with(&self, credentials: Credentials) -> Result<Connection, Failure> {
        self.open(credentials, false).await
    }

    /// Returns the data directory if the command makes it.
    pub(super) fn makes_directory(&self) -> Result<Option<PathBuf>, Failure> {
        if self.server.is_some() {
            return Ok(None);
        }
        let data = self.load_place()?.config.data;
        Ok((!data.exists()).then_some(data))
    }

    /// Connects like [`Self::connect_with`], and creates the data directory if a missing one was named: the
    /// first account is made before the first start.
    pub(super) async fn connect_or_create(&self, credentials: Credentials) -> Result<Connection, Failure> {
        self.open(credentials, true).await
    }

    /// Connects, runs `work`, and closes the connection.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let registry = self.connect().await?;
        let outcome = work(&registry).await;
        registry.close().await;
        outcome
    }

    /// The source of passwords.
    pub(super) fn passwords(&self) -> Passwords {
        if self.password_stdin { Passwords::StandardInput } else { Passwords::Terminal }
    }

    /// The credentials for the server; asks for the password if a user is named.
    pub(super) fn credentials(&self) -> Result<Credentials, Failure> {
        let Some(server) = &self.server else { return Ok(Credentials::None) };
        match &self.login_name {
            Some(user) if user.contains(':') => {
                Err(Failure::usage(format!("--user {user}: a user name contains no colon"))
                    .help("the password is asked for, or read from standard input with --password-stdin"))
            }
            Some(user) => {
                let password = self.passwords().known(&format!("Password of {user} at {server}: "))?;
                Ok(Credentials::Password { user: user.clone(), password })
            }
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(token) if !password::bare(&token).is_empty() => {
                    Ok(Credentials::Token(Secret::new(password::bare(&token))))
                }
                _ => Ok(Credentials::None),
            },
        }
    }

    /// Reads the certificates of `--ca`.
    fn ca_certificates(&self) -> Result<Vec<CertificateDer<'static>>, Failure> {
        let Some(file) = &self.ca else { return Ok(Vec::new()) };
        let name = file.display();
        let pem = operator_file::read(file).map_err(|error| {
            Failure::usage(format!("cannot read {name}, which --ca names")).because(&error)
        })?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(byte_order_mark::strip(&pem)).filter_map(Result::ok).collect();
        if certificates.is_empty() {
            return Err(Failure::usage(format!("{name}, which --ca names, contains no certificate"))
                .help("a file in PEM format begins with -----BEGIN CERTIFICATE-----"));
        }
        Ok(certificates)
    }

    /// The flags that select the same registry in another command.
    fn flags(&self) -> String {
        let mut flags = String::new();
        let mut add = |flag: &str, value: Option<&str>| {
            if let Some(value) = value {
                flags.push_str(&format!(" {flag} {}", output::quoted(value)));
            }
        };
        add("--server", self.server.as_deref());
        add("--user", self.login_name.as_deref());
        add("--ca", self.ca.as_deref().and_then(Path::to_str));
        add("--config", self.data.config.as_deref().and_then(Path::to_str));
        add("--data", self.data.data.as_deref());
        flags
    }

    async fn open(&self, credentials: Credentials, create: bool) -> Result<Connection, Failure> {
        match &self.server {
            Some(server) => {
                let url = unreachable::parse(server)?;
                let http = self.client(&url)?;
                Ok(Connection::to_server(url, http, credentials, self.flags()))
            }
            None => Ok(Connection::to_data_directory(self.open_data_directory(create).await?, self.flags())),
        }
    }

    /// Makes an HTTP client for the server of `--server`.
    fn client(&self, server: &Url) -> Result<reqwest::Client, Failure> {
        let failed =
            |error: &dyn std::error::Error| Failure::new("cannot make an HTTP client").because(error);
        let mut client = builder();
        if server.scheme() == "https" {
            let tls = tls::client::config(self.ca_certificates()?, System::Trusted);
            client = client.tls_backend_preconfigured(tls.map_err(|error| failed(&error))?);
        } else {
            client = client.tls_certs_only([]);
        }
        if unreachable::is_local(server) {
            client = client.no_proxy();
        }
        client.build().map_err(|error| failed(&error))
    }

    async fn open_data_directory(&self, create: bool) -> Result<LocalServer, Failure> {
        let (loaded, errors) = self.data.load_for(PLACE)?;
        let is_named = loaded.origin("data") != Origin::Default;
        owner::become_owner(&loaded.config.data)?;
        if !errors.0.is_empty() {
            // A running server has the settings that it was started with.
            let running = LocalServer::connect_running(&loaded.config, builder).await;
            let Ok(server) = running else {
                return Err(Failure::from(errors).help(format!(
                    "no server runs on {}, so this command needs all settings",
                    loaded.config.data.display()
                )));
            };
            let number = output::counted(errors.0.len(), "error", "errors");
            output::remark(format_args!(
                "warning: the configuration has {number}, and a server would not start with it: \
                 `wharfinger config check` shows more\n"
            ));
            return Ok(server);
        }
        let server = LocalServer::connect(&loaded.config, create && is_named, builder).await;
        server.map_err(|error| explain(&error, is_named))
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().timeout(TIMEOUT).user_agent("wharfinger")
}

/// Explains why the server of the data directory cannot be reached. `is_named` tells whether the operator
/// named the directory.
fn explain(error: &LocalError, is_named: bool) -> Failure {
    let failure = match error {
        LocalError::Missing(path) if Path::new(path).is_file() => {
            Failure::new(format!("{path} is a file, and no data directory"))
        }
        LocalError::Missing(path) if !is_named => {
            let here =
                std::env::current_dir().map(|here| format!(" in {}", here.display())).unwrap_or_default();
            Failure::new(format!("there is no data directory `{path}`{here}"))
        }
        error => Failure::new(error),
    };
    let failure = match std::error::Error::source(error) {
        Some(source) => failure.because(source),
        None => failure,
    };
    failure.help(match error {
        LocalError::Missing(_) => {
            "name the registry's directory with --data DIR, or a running server with --server URL;\n\
             `wharfinger serve --data DIR` and `wharfinger user add NAME --admin --data DIR` make a new one"
        }
        LocalError::Open { .. } => {
            "name another data directory with --data DIR, or a running server with --server URL"
        }
        LocalError::NotRunning(_) => {
            "start one with `wharfinger serve --data DIR`, or name a server with --server URL"
        }
        LocalError::Cluster { .. } => {
            "no server runs there, and another one uses the registry; name any of its servers with --server URL"
        }
        LocalError::InUse { .. } => "wait until it has ended, or name a running server with --server",
        _ => "",
    })
}
