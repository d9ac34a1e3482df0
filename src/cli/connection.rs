//! How commands reach a registry: always through its HTTP interface, so that a command sees what clients see and
//! cannot disagree with what a server has in memory.
//!
//! With `--server` that is a server somewhere. Without, it is the registry of the data directory: through the
//! control socket of the server that runs on it, or, if none runs, through one that lives in this process for as
//! long as the command.

use std::time::{Duration, Instant};

use clap::Args;
use registry::Registry;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use store::Directory;
use store::directory::Socket;

use super::output::Failure;
use super::settings::Place;
use crate::config::Config;
use crate::http::server::Inside;
use crate::serve;

/// The flags that say which registry a command works on.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Where {
    /// Work on the registry of a server, such as http://localhost:5000, rather than on a data directory
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config"])]
    server: Option<String>,

    #[command(flatten)]
    place: Place,
}

/// A registry that answers.
pub(super) struct Connection {
    http: reqwest::Client,
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

impl Where {
    /// Reaches the registry.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let client = || reqwest::Client::builder().timeout(PATIENCE).user_agent("wharfinger");
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| Failure::new("cannot make an HTTP client").because(&error))
        };
        if let Some(url) = &self.server {
            let base = match reqwest::Url::parse(url) {
                Ok(parsed) if parsed.scheme() == "http" && parsed.host().is_some() => {
                    url.trim_end_matches('/').to_owned()
                }
                Ok(parsed) if parsed.scheme() == "https" => {
                    return Err(Failure::usage("--server takes http:// only, so far")
                        .help("for a registry behind HTTPS, name the address behind its proxy"));
                }
                _ => {
                    return Err(Failure::usage(format!("`{url}` is not the URL of a server"))
                        .help("write it as in --server http://localhost:5000"));
                }
            };
            return Ok(Connection {
                http: build(client())?,
                name: base.clone(),
                base,
                inside: None,
                _socket: None,
            });
        }
        let config = self.place.load()?.config;
        let directory = open(&config)?;
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

impl Connection {
    /// A request to the registry; `path` begins with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
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
        let answer = self.send(self.request(Method::GET, path)).await?;
        answer.json().await.map_err(|error| {
            Failure::new(format!("{} does not answer as a wharfinger does", self.name)).because(&error)
        })
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
        let mut messages = match answer.json::<Errors>().await {
            Ok(errors) => {
                errors.errors.into_iter().map(|error| error.message).filter(|text| !text.is_empty())
            }
            Err(_) => return Failure::new(format!("the registry {} answers {status}", self.name)),
        };
        let Some(first) = messages.next() else {
            return Failure::new(format!("the registry {} answers {status}", self.name));
        };
        messages.fold(Failure::new(first), Failure::help)
    }
}
