//! The server: its listeners, and its graceful shutdown.
//!
//! - `listener`, `accept`: sockets, and the connections from them.
//! - `serve`, `protocol`: one connection by HTTP/1.1 or HTTP/2.
//! - `connection`, `connection_table`, `in_progress`, `idle_timeout`, `descriptors`: the state, limits and
//!   timeouts of connections.
//! - `stop`: the stages of a stop. `inside`: the server inside a command.

mod accept;
pub(crate) mod connection;
pub(crate) mod connection_table;
pub(crate) mod descriptors;
pub(crate) mod idle_timeout;
pub(crate) mod in_progress;
mod inside;
mod listener;
mod metrics_listener;
mod protocol;
mod redirect;
mod serve;
mod stop;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use registry::Registry;
use registry::mirror::Mirror;
use registry::records::Socket;
use socket2::SockRef;
use tokio::net::TcpListener;

pub use self::inside::Inside;
pub use self::stop::Stop;
use crate::config::{Config, Effective};
use crate::http::app::App;
use crate::http::cluster::Role;
use crate::http::content_proxy::ContentProxy;
use crate::http::live::LiveApp;
use crate::http::reload_requests::{ReloadQueue, ReloadRequests};
use crate::http::server::accept::Connections;
use crate::http::server::connection::CutOff;
use crate::http::server::listener::{Control, open};
use crate::http::server::metrics_listener::MetricsListener;
use crate::http::server::redirect::Redirect;
use crate::http::server::stop::Stage;
use crate::tls;
use crate::webhooks;

/// A listening server. Connections wait in the backlog until it runs.
pub struct Server {
    live: Arc<LiveApp>,
    reload: Option<ReloadQueue>,
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<tls::Acceptor>,
    redirect: Option<Redirect>,
    metrics: Option<MetricsListener>,
    control: Option<Control>,
    stop: Stop,
}

impl Server {
    /// Listens on the configured address.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system, for example if the address is in use.
    pub(crate) async fn bind(
        registry: Registry,
        content_proxy: Option<Arc<dyn ContentProxy>>,
        mirror: Option<Mirror>,
        role: Role,
        config: &Config,
        inherited: Option<std::net::TcpListener>,
    ) -> io::Result<Self> {
        let tcp = open(inherited, config.listen)?;
        let address = tcp.local_addr()?;
        let (requests, reload) = ReloadRequests::new();
        let role = Arc::new(role);
        let app = App::new(registry, content_proxy, mirror, role, config, Some(requests))?;
        let live = LiveApp::new(Arc::new(app));
        Ok(Self {
            live,
            reload: Some(reload),
            tcp,
            address,
            tls: None,
            redirect: None,
            metrics: None,
            control: None,
            stop: Stop::new(),
        })
    }

    /// Serves HTTPS on the port.
    pub fn secure(&mut self, tls: tls::Acceptor) {
        let app = self.live.get();
        app.metrics.set_certificate(tls.clone());
        if let tls::Origin::SelfSigned { certificate, .. } = tls.origin() {
            app.in_force.set_certificate(certificate.clone());
        }
        self.tls = Some(tls);
    }

    /// Shows the settings to administrators.
    pub fn describe(&self, settings: &[Effective]) {
        self.live.describe(settings);
    }

    /// Listens for plain HTTP as well, and redirects it to HTTPS.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system, for example if the address is in use.
    pub async fn redirect(
        &mut self,
        address: SocketAddr,
        tls: tls::Acceptor,
        config: &Config,
        inherited: Option<std::net::TcpListener>,
    ) -> io::Result<()> {
        let listener = open(inherited, address)?;
        let open = self.live.get().metrics.connections.of("tls.redirect").clone();
        self.redirect = Some(Redirect::new(listener, self.address.port(), tls, config, open));
        Ok(())
    }

    /// Listens for scrapes of metrics as well.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system, for example if the address is in use.
    pub fn serve_metrics(
        &mut self,
        address: SocketAddr,
        inherited: Option<std::net::TcpListener>,
    ) -> io::Result<()> {
        let metrics = self.live.get().metrics.clone();
        self.metrics = Some(MetricsListener::new(open(inherited, address)?, metrics));
        Ok(())
    }

    /// Returns the address of the listener for metrics.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|metrics| metrics.address().ok())
    }

    /// Returns the TLS acceptor of an HTTPS server.
    #[must_use]
    pub fn tls(&self) -> Option<&tls::Acceptor> {
        self.tls.as_ref()
    }

    /// Returns `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Listens on the control socket, which only the server's user can reach. An existing socket file is
    /// replaced: its process is dead, because the caller holds the lock of the directory.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system, for example if the address is in use.
    pub fn bind_control(&mut self, socket: Socket) -> io::Result<()> {
        self.control = Some(Control::bind(socket)?);
        Ok(())
    }

    /// Returns the address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the role of this server among several.
    pub(crate) fn role(&self) -> Arc<Role> {
        self.live.get().role.clone()
    }

    /// Returns the settings that a reload changes, and the requests for a reload.
    pub(crate) fn live(&mut self) -> (Arc<LiveApp>, Option<ReloadQueue>) {
        (self.live.clone(), self.reload.take())
    }

    /// Returns duplicates of the listening sockets, for the next server of this process.
    ///
    /// # Errors
    /// [`io::Error`] of the operating system, for example if the address is in use.
    pub(crate) fn sockets(&self) -> io::Result<[Option<std::net::TcpListener>; 3]> {
        let duplicate = |listener: &TcpListener| -> io::Result<Option<std::net::TcpListener>> {
            Ok(Some(SockRef::from(listener).try_clone()?.into()))
        };
        Ok([
            duplicate(&self.tcp)?,
            self.redirect.as_ref().map_or(Ok(None), |redirect| duplicate(redirect.listener()))?,
            self.metrics.as_ref().map_or(Ok(None), |metrics| duplicate(metrics.listener()))?,
        ])
    }

    /// Returns a handle that stops this server.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves until the server is stopped, and then until all requests have ended or the shutdown timeout is
    /// over.
    pub async fn run(self) {
        let app = self.live.get();
        let is_replica = app.registry.is_replica();
        if !is_replica {
            webhooks::prepare(&app.webhooks, &app.registry).await;
        }
        let deliveries = async {
            match is_replica {
                // The primary delivers.
                true => std::future::pending().await,
                false => webhooks::run(app.webhooks.clone(), app.registry.clone()).await,
            }
        };
        let connections = Connections::new(self.live.clone(), &self.stop);
        let mut stage = self.stop.subscribe();
        let tcp = connections.accept_tcp(&self.tcp, self.address, self.tls.as_ref());
        let control = connections.accept_control(self.control.as_ref());
        let redirect = async {
            match &self.redirect {
                Some(redirect) => redirect.run().await,
                None => std::future::pending().await,
            }
        };
        let metrics = async {
            match &self.metrics {
                Some(metrics) => metrics.run().await,
                None => std::future::pending().await,
            }
        };
        let certificate = async {
            match &self.tls {
                Some(tls) => tls.maintain().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = async { tokio::join!(tcp, redirect, metrics, control, certificate) } => match never {},
            () = deliveries => {}
            _ = stage.wait_for(|stage| *stage > Stage::Running) => {}
        }
        drop(stage);
        let shutdown_timeout = self.live.get().limits.shutdown_timeout;
        app.closing.send_replace(true);
        drop(app);
        // New connections are refused from here on.
        drop((self.tcp, self.redirect, self.metrics, self.control, connections));
        let over = async {
            // Every connection holds a receiver.
            self.stop.all_ended().await;
        };
        if tokio::time::timeout(shutdown_timeout, over).await.is_err() {
            let left = self.stop.connections();
            tracing::warn!(
                connections = left,
                "closing connections whose requests did not end within limits.shutdown_timeout"
            );
            self.stop.advance(Stage::Over(CutOff::After(shutdown_timeout)));
            self.stop.all_ended().await;
        }
    }
}
