//! How commands reach a registry: always through its HTTP interface, so that a command sees what clients see and
//! cannot disagree with what a server has in memory.
//!
//! With `--server` that is a server anywhere, which asks for credentials if it has accounts. Without, it is the
//! registry of the data directory: through the control socket of the server that runs on it, or, if none runs,
//! through one that lives in this process for as long as the command.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::Page;
use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use registry::Registry;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use store::Directory;
use store::directory::Socket;

use super::output::{self, Failure};
use super::owner;

use super::password::{self, Password, Passwords};
use super::settings::DataDir;
use super::unreachable;
use crate::byte_order_mark;
use crate::config::{Config, Origin, TOKEN_VARIABLE};
use crate::http::server::Inside;
use crate::tls::client::System;
use crate::{serve, tls};

/// The flags that say which registry a command works on.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Target {
    /// Use the registry of a server, such as http://localhost:5000, instead of a data directory
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config"])]
    server: Option<String>,

    /// Log in to the server as this user; the password is asked for. Scripts use a token in WHARFINGER_TOKEN
    #[arg(long = "user", value_name = "NAME", requires = "server")]
    sign_in_as: Option<String>,

    /// Read passwords from standard input, one a line, instead of asking
    #[arg(long)]
    password_stdin: bool,

    /// Trust the certificates in this PEM file as well as those of the system
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,

    #[command(flatten)]
    place: DataDir,
}

/// Who a command is to a server. On the data directory it is its operator, whoever that may be: who can open the
/// files needs nobody's leave.
pub(super) enum Credentials {
    None,
    Password { user: String, password: Password },
    Token(String),
}

/// What to do where there is no data directory yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    /// A mistyped path must not become an empty registry.
    Refuse,
    /// Make it where it was named: the first account is made before the registry first runs.
    MakeIfNamed,
}

/// A registry that answers.
pub(super) struct Connection {
    http: reqwest::Client,
    credentials: Credentials,
    /// The server of `--server`.
    server: Option<Url>,
    /// Without a slash at its end.
    base: String,
    /// How messages call the registry.
    name: String,
    /// The flags that lead here, for the commands in messages.
    flags: String,
    /// The server that lives in this process, if no other runs on the directory.
    inside: Option<(Inside, Registry)>,
    /// What the path of the socket stands on.
    _socket: Option<Socket>,
}

/// How a server is called over a socket, where names mean nothing.
const LOCAL: &str = "http://localhost";
/// How long to wait for another command, or for a server that is starting or stopping.
const TURN: Duration = Duration::from_secs(10);
/// Servers answer lists and manifests at once; uploads of a manifest wait for a disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// What to do where an account is needed.
const SIGN_IN: &str = "log in with --user NAME, or with a token in WHARFINGER_TOKEN";

impl Target {
    /// Reaches the registry.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        if self.password_stdin && self.sign_in_as.is_none() {
            return Err(Failure::usage("--password-stdin is given, and this command needs no password")
                .help("leave it out, or name the user: --server URL --user NAME --password-stdin"));
        }
        self.reach(self.credentials()?, Absent::Refuse).await
    }

    /// Reaches the registry, for commands that read passwords of their own after those to sign in with.
    pub(super) async fn connect_with(&self, credentials: Credentials) -> Result<Connection, Failure> {
        self.reach(credentials, Absent::Refuse).await
    }

    /// Reaches the registry, and makes one if a data directory was named that is not there: for the first account.
    pub(super) async fn connect_or_make(&self, credentials: Credentials) -> Result<Connection, Failure> {
        self.reach(credentials, Absent::MakeIfNamed).await
    }

    /// Does some work with the registry, and lets go of it however that ends.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let registry = self.connect().await?;
        let outcome = work(&registry).await;
        registry.close().await;
        outcome
    }

    /// Where passwords come from.
    pub(super) fn passwords(&self) -> Passwords {
        if self.password_stdin { Passwords::StandardInput } else { Passwords::Terminal }
    }

    /// How to sign in: asks for the password if there is one to be asked for.
    pub(super) fn credentials(&self) -> Result<Credentials, Failure> {
        let Some(server) = &self.server else { return Ok(Credentials::None) };
        match &self.sign_in_as {
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
                    Ok(Credentials::Token(password::bare(&token).to_owned()))
                }
                _ => Ok(Credentials::None),
            },
        }
    }

    /// The certificates of `--ca`.
    fn named_certificates(&self) -> Result<Vec<CertificateDer<'static>>, Failure> {
        let Some(file) = &self.ca else { return Ok(Vec::new()) };
        let name = file.display();
        let pem = std::fs::read(file).map_err(|error| {
            Failure::usage(format!("cannot read {name}, which --ca names")).because(&error)
        })?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(byte_order_mark::strip(&pem)).filter_map(Result::ok).collect();
        if certificates.is_empty() {
            return Err(Failure::usage(format!("{name}, which --ca names, contains no certificate"))
                .help("a file in PEM begins with -----BEGIN CERTIFICATE-----"));
        }
        Ok(certificates)
    }

    /// The flags that lead to the same registry, as they were typed.
    fn flags(&self) -> String {
        let mut flags = String::new();
        let mut add = |flag: &str, value: Option<&str>| {
            if let Some(value) = value {
                flags.push_str(&format!(" {flag} {}", output::quoted(value)));
            }
        };
        add("--server", self.server.as_deref());
        add("--user", self.sign_in_as.as_deref());
        add("--ca", self.ca.as_deref().and_then(Path::to_str));
        add("--config", self.place.config.as_deref().and_then(Path::to_str));
        add("--data", self.place.data.as_deref());
        flags
    }

    /// A client of the server that `--server` names.
    fn client(&self, server: &Url) -> Result<reqwest::Client, Failure> {
        let failed =
            |error: &dyn std::error::Error| Failure::new("cannot make an HTTP client").because(error);
        let mut client = builder();
        if server.scheme() == "https" {
            let tls = tls::client::config(self.named_certificates()?, System::Trusted);
            client = client.tls_backend_preconfigured(tls.map_err(|error| failed(&error))?);
        } else {
            client = client.tls_certs_only([]);
        }
        if unreachable::is_local(server) {
            client = client.no_proxy();
        }
        client.build().map_err(|error| failed(&error))
    }

    async fn reach(&self, credentials: Credentials, absent: Absent) -> Result<Connection, Failure> {
        let flags = self.flags();
        if let Some(server) = &self.server {
            let server = unreachable::parse(server)?;
            let base = server.as_str().trim_end_matches('/').to_owned();
            return Ok(Connection {
                http: self.client(&server)?,
                credentials,
                server: Some(server),
                name: base.clone(),
                base,
                flags,
                inside: None,
                _socket: None,
            });
        }
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| Failure::new("cannot make an HTTP client").because(&error))
        };
        // Reading the system's certificates takes longer than most commands.
        let client = || builder().tls_certs_only([]);
        let loaded = self.place.load()?;
        let is_named = loaded.origin("data") != Origin::Default;
        let config = loaded.config;
        let directory = match absent {
            Absent::MakeIfNamed if is_named => {
                owner::become_owner(&config.data)?;
                Directory::open(&config.data).map_err(|error| {
                    Failure::new(format!("cannot make a registry in {}", config.data.display()))
                        .because(&error)
                })?
            }
            Absent::MakeIfNamed | Absent::Refuse => open(&config, is_named)?,
        };
        let name = directory.root().display().to_string();
        let failed =
            |error: &dyn std::error::Error| Failure::new(format!("cannot open {name}")).because(error);
        let begun = Instant::now();
        loop {
            let locked = directory.try_lock().map_err(|error| failed(&error))?;
            if let Some(lock) = locked {
                // The registry takes it itself. A server that starts between the two keeps this command out, which
                // then says so.
                drop(lock);
                let registry =
                    serve::open_registry(&config, directory.clone()).await.map_err(|error| failed(&error))?;
                let socket = directory.command_socket().map_err(|error| failed(&error))?;
                let inside =
                    Inside::start(registry.clone(), &config, socket).map_err(|error| failed(&error))?;
                let http = build(client().unix_socket(inside.socket()))?;
                return Ok(Connection {
                    http,
                    credentials,
                    server: None,
                    base: LOCAL.to_owned(),
                    name,
                    flags,
                    inside: Some((inside, registry)),
                    _socket: None,
                });
            }
            let socket = directory.control_socket().map_err(|error| failed(&error))?;
            let http = build(client().unix_socket(socket.path()))?;
            // A server that is starting or stopping, or another command that has the directory for a moment, does
            // not answer there.
            if http.get(format!("{LOCAL}/healthz")).send().await.is_ok() {
                return Ok(Connection {
                    http,
                    credentials,
                    server: None,
                    base: LOCAL.to_owned(),
                    name,
                    flags,
                    inside: None,
                    _socket: Some(socket),
                });
            }
            if begun.elapsed() > TURN {
                let holder = directory
                    .lock_holder()
                    .map_or("another process".to_owned(), |pid| format!("process {pid}"));
                return Err(Failure::new(format!("{name} is in use by {holder}, which takes no commands"))
                    .help("wait until it has ended, or name a running server with --server"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The data directory, which must be there: a mistyped path must not become an empty registry.
fn open(config: &Config, is_named: bool) -> Result<Directory, Failure> {
    let path = config.data.display();
    if !config.data.exists() {
        let here = std::env::current_dir().map(|here| format!(" in {}", here.display())).unwrap_or_default();
        let failure = match is_named {
            true => Failure::new(format!("there is no data directory {path}")),
            false => Failure::new(format!("there is no data directory `{path}`{here}")),
        };
        return Err(failure.help(
            "name the registry's directory with --data DIR, or a running server with --server URL;\n\
             `wharfinger serve --data DIR` and `wharfinger user add NAME --admin --data DIR` make a new one",
        ));
    }
    owner::become_owner(&config.data)?;
    Directory::open_existing(&config.data).map_err(|error| {
        Failure::new(format!("cannot open the registry in {path}"))
            .because(&error)
            .help("name another data directory with --data DIR, or a running server with --server URL")
    })
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().timeout(PATIENCE).user_agent("wharfinger")
}

/// A name as a part of a path: what has a meaning in URLs is encoded.
pub(super) fn segment(name: impl ToString) -> String {
    const PLAIN: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'+').remove(b'@');
    utf8_percent_encode(&name.to_string(), PLAIN).to_string()
}

impl Connection {
    /// A request to the registry; `path` begins with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.credentials {
            Credentials::None => request,
            Credentials::Password { user, password } => request.basic_auth(user, Some(password.reveal())),
            Credentials::Token(token) => request.bearer_auth(token),
        }
    }

    /// Sends a request, and takes an answer of success alone.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = self.try_send(request).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await) }
    }

    /// Sends a request, and takes "not found" for `None`.
    pub(super) async fn find(&self, request: RequestBuilder) -> Result<Option<Response>, Failure> {
        let answer = self.try_send(request).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer)),
            _ => Err(self.refused(answer).await),
        }
    }

    /// Gets JSON.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(self.request(Method::GET, path)).await
    }

    /// Sends a request, and takes JSON for an answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let answer = self.send(request).await?;
        answer.json().await.map_err(|error| {
            Failure::new(format!("{} does not answer as Wharfinger does", self.name)).because(&error)
        })
    }

    /// A command for this registry, for a message.
    pub(super) fn command(&self, words: &str) -> String {
        format!("`wharfinger {words}{}`", self.flags)
    }

    /// Gets a list, however many pages it has. `filters` are parameters of every page.
    pub(super) async fn list<P: Page>(
        &self,
        path: &str,
        filters: &[(&str, &str)],
    ) -> Result<Vec<P::Entry>, Failure> {
        let mut all: Vec<P::Entry> = Vec::new();
        loop {
            let mut request = self.request(Method::GET, path).query(filters);
            if let Some(last) = all.last() {
                request = request.query(&[("last", P::key(last))]);
            }
            let (entries, more) = self.ask::<P>(request).await?.split();
            let more = more && !entries.is_empty();
            all.extend(entries);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Ends the server inside, if there is one: what it changed is then in the directory, and synced.
    pub(super) async fn close(self) {
        if let Some((inside, registry)) = self.inside {
            drop(self.http);
            inside.stop().await;
            registry.close().await;
        }
    }

    async fn try_send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| match &self.server {
            Some(server) => unreachable::explain(server, &error),
            None => Failure::new(format!("the server of {} does not answer", self.name)).because(&error),
        })
    }

    /// What a registry says when it refuses.
    async fn refused(&self, answer: Response) -> Failure {
        #[derive(Deserialize)]
        struct Errors {
            errors: Vec<Refusal>,
        }
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(default)]
            message: String,
        }
        let status = answer.status();
        let help = match status {
            StatusCode::UNAUTHORIZED if self.server.is_some() => SIGN_IN.to_owned(),
            StatusCode::NOT_FOUND => self.path_hint().unwrap_or_default(),
            _ => String::new(),
        };
        let body = answer.bytes().await.unwrap_or_default();
        let Ok(Errors { errors }) = serde_json::from_slice(&body) else {
            return self.not_ours(status, &body);
        };
        let mut messages = errors.into_iter().map(|error| error.message).filter(|text| !text.is_empty());
        let Some(first) = messages.next() else { return self.not_ours(status, &body) };
        messages.fold(Failure::new(first), Failure::help).help(help)
    }

    /// An answer that is not one of a registry's errors.
    fn not_ours(&self, status: StatusCode, body: &[u8]) -> Failure {
        let Self { server: Some(server), name, .. } = self else {
            return Failure::new(format!("the server of {} answers {status}", self.name));
        };
        // nginx, Go and Wharfinger itself say so in a sentence.
        let speaks_https = String::from_utf8_lossy(body).contains("HTTPS");
        if server.scheme() == "http" && status == StatusCode::BAD_REQUEST && speaks_https {
            let (_, rest) = name.split_once("://").unwrap_or_default();
            return Failure::new(format!("{name} speaks HTTPS on this port"))
                .help(format!("write --server https://{rest}"));
        }
        let hint = self.path_hint();
        Failure::new(format!("{name} answers {status}, which no Wharfinger does here")).help(
            hint.unwrap_or_else(|| "check the host and the port: another server may listen there".to_owned()),
        )
    }

    /// What to do if the address of the server has a path.
    fn path_hint(&self) -> Option<String> {
        let server = self.server.as_ref().filter(|server| server.path() != "/")?;
        let (path, origin) = (server.path(), server.origin().ascii_serialization());
        Some(format!(
            "the address has the path {path}; unless a proxy has the registry there, write --server {origin}"
        ))
    }
}
