//! The server inside a command.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry::Registry;
use registry::records::Socket;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::http::app::App;
use crate::http::cluster::Role;
use crate::http::live::LiveApp;
use crate::http::server::accept::Connections;
use crate::http::server::listener::Control;
use crate::http::server::stop::Stop;
use crate::upstreams;

/// A server inside a command, without an address. The command reaches it over its own socket.
pub struct Inside {
    stop: Stop,
    accepting: JoinHandle<()>,
    socket: PathBuf,
}

impl Inside {
    /// Starts serving in a task.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system, for example if the address is in use.
    pub fn start(registry: Registry, config: &Config, socket: Socket) -> io::Result<Self> {
        let path = socket.path().to_owned();
        let control = Control::bind(socket)?;
        let stop = Stop::new();
        let mirror = upstreams::open(&registry, config).map_err(io::Error::other)?;
        let app = Arc::new(App::new(registry, None, mirror, Arc::new(Role::Alone), config, None)?);
        let connections = Connections::new(LiveApp::new(app), &stop);
        let accepting =
            tokio::spawn(async move { match connections.accept_control(Some(&control)).await {} });
        Ok(Self { stop, accepting, socket: path })
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops the server. The command has no request in progress.
    pub async fn stop(self) {
        self.accepting.abort();
        // The task was aborted.
        let _ = self.accepting.await;
        self.stop.at_once();
        self.stop.all_ended().await;
    }
}
