//! How commands reach a registry: always through its HTTP interface, so that a command sees what clients see and
//! cannot disagree with what a server has in memory.
//!
//! With `--server` that is a server somewhere, which asks who is there if it has accounts. Without, it is the registry of the data directory: through the
//! control socket of the server that runs on it, or, if none runs, through one that lives in this process for as
//! long as the command.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use registry::Registry;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use store::Directory;
use store::directory::Socket;

use super::output::Failure;
use super::page::Page;
use super::password::{self, Password, Passwords};
use super::settings::Place;
use crate::config::{Config, TOKEN_VARIABLE};
use crate::http::server::Inside;
use crate::serve;
use crate::tls::pair;

/// The flags that say which registry a command works on.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Where {
    /// Work on the registry of a server, such as http://localhost:5000, rather than on a data directory
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config"])]
    server: Option<String>,

    /// Sign in to the server as this user; the password is asked for. Scripts put a token in WHARFINGER_TOKEN instead
    #[arg(long = "user", value_name = "NAME", requires = "server")]
    sign_in_as: Option<String>,

    /// Read passwords from standard input, one a line, rather than ask for them
    #[arg(long)]
    password_stdin: bool,

    /// Trust this certificate of an https:// server, a PEM file, besides those that the system trusts
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,

    #[command(flatten)]
    place: Place,
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
    /// The first account is made before the registry first runs.
    Make,
}

/// A registry that answers.
pub(super) struct Connection {
    http: reqwest::Client,
    credentials: Credentials,
    /// Without a slash at its end.
    base: String,
    /// How messages call the registry.
    name: String,
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
const SIGN_IN: &str = "sign in with --user NAME, or with a token in WHARFINGER_TOKEN";

impl Where {
    /// Reaches the registry.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        if self.password_stdin && self.sign_in_as.is_none() {
            return Err(Failure::usage("--password-stdin gives a password, and none is needed")
                .help("say whose it is, as in --server URL --user NAME --password-stdin"));
        }
        self.reach(self.credentials()?, Absent::Refuse).await
    }

    /// Reaches the registry, for commands that read passwords of their own after those to sign in with.
    pub(super) async fn connect_with(&self, credentials: Credentials) -> Result<Connection, Failure> {
        self.reach(credentials, Absent::Refuse).await
    }

    /// Reaches the registry, and makes one if the data directory is not there: for the first account.
    pub(super) async fn connect_or_make(&self, credentials: Credentials) -> Result<Connection, Failure> {
        self.reach(credentials, Absent::Make).await
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
                Err(Failure::usage(format!("`{user}` is no user's name: it has a colon")))
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

    /// A client that trusts the certificates of `--ca` as well.
    fn trusting(&self, client: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, Failure> {
        let Some(file) = &self.ca else { return Ok(client) };
        let name = file.display();
        let pem = std::fs::read(file)
            .map_err(|error| Failure::usage(format!("cannot read {name}")).because(&error))?;
        let certificates = reqwest::Certificate::from_pem_bundle(pair::without_bom(&pem))
            .map_err(|error| Failure::usage(format!("{name} is no certificate")).because(&error))?;
        if certificates.is_empty() {
            return Err(Failure::usage(format!("{name} holds no certificate"))
                .help("a file in PEM begins with -----BEGIN CERTIFICATE-----"));
        }
        Ok(certificates.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate))
    }

    async fn reach(&self, credentials: Credentials, absent: Absent) -> Result<Connection, Failure> {
        let is_secure = self.server.as_ref().is_some_and(|url| url.starts_with("https:"));
        let client = || {
            let client = reqwest::Client::builder().timeout(PATIENCE).user_agent("wharfinger");
            // Reading the system's certificates takes longer than most commands.
            if is_secure { client } else { client.tls_certs_only([]) }
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| Failure::new("cannot make an HTTP client").because(&error))
        };
        if let Some(url) = &self.server {
            let base = match reqwest::Url::parse(url) {
                Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.host().is_some() => {
                    url.trim_end_matches('/').to_owned()
                }
                _ => {
                    return Err(Failure::usage(format!("`{url}` is not the URL of a server"))
                        .help("write it as in --server https://registry.example.com"));
                }
            };
            return Ok(Connection {
                http: build(self.trusting(client())?)?,
                credentials,
                name: base.clone(),
                base,
                inside: None,
                _socket: None,
            });
        }
        let config = self.place.load()?.config;
        let directory = match absent {
            Absent::Refuse => open(&config)?,
            Absent::Make => Directory::open(&config.data).map_err(|error| {
                Failure::new(format!("cannot make a registry in {}", config.data.display())).because(&error)
            })?,
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
                    base: LOCAL.to_owned(),
                    name,
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
                    base: LOCAL.to_owned(),
                    name,
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
pub(super) fn open(config: &Config) -> Result<Directory, Failure> {
    Directory::open_existing(&config.data).map_err(|error| {
        Failure::new(format!("there is no registry in {}", config.data.display()))
            .because(&error)
            .help("name the data directory with --data, or a running server with --server")
    })
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
            Failure::new(format!("{} does not answer as a wharfinger does", self.name)).because(&error)
        })
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
        request.send().await.map_err(|error| {
            Failure::new(format!("the registry {} does not answer", self.name)).because(&error)
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
        let help = if status == StatusCode::UNAUTHORIZED && self.base != LOCAL { SIGN_IN } else { "" };
        let mut messages = match answer.json::<Errors>().await {
            Ok(errors) => {
                errors.errors.into_iter().map(|error| error.message).filter(|text| !text.is_empty())
            }
            Err(_) => return Failure::new(format!("the registry {} answers {status}", self.name)),
        };
        let Some(first) = messages.next() else {
            return Failure::new(format!("the registry {} answers {status}", self.name));
        };
        messages.fold(Failure::new(first), Failure::help).help(help)
    }
}
