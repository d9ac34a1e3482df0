//! The accept loop: accepts connections, and limits their number.
//!
//! hyper has none. This one takes a place in the connection table before the TLS handshake, so that limits of
//! a network and the eviction of idle connections also count for clients that never send a request. It evicts
//! idle connections if the process has no free file descriptor.

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::http::live::LiveApp;
use crate::http::server::connection::Peer;
use crate::http::server::listener::{Control, after_failed_accept, is_out_of_descriptors};
use crate::http::server::serve::{ConnectionServer, Open, Place};
use crate::http::server::stop::{Stage, Stop};
use crate::tls;

/// The maximum number of connections to the control socket.
const CONTROL_CONNECTIONS: usize = 64;
/// The send buffer for clients on the same machine, such as nginx; the kernel doubles it. Its own tuning
/// grows the buffer to 4 MiB and more, which no longer fits the CPU cache: a blob then costs both sides twice
/// the time.
const SENT_WITHIN_A_MACHINE: usize = 512 << 10;

pub(super) struct Connections {
    server: Arc<ConnectionServer>,
    control: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
}

impl Connections {
    pub(super) fn new(live: Arc<LiveApp>, stop: &Stop) -> Self {
        Self {
            control: Arc::new(Semaphore::new(CONTROL_CONNECTIONS)),
            server: Arc::new(ConnectionServer::new(live)),
            stage: stop.subscribe(),
        }
    }

    pub(super) async fn accept_tcp(
        &self,
        listener: &TcpListener,
        listening: SocketAddr,
        tls: Option<&tls::Acceptor>,
    ) -> std::convert::Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    let is_proxy = self.server.live.get().is_proxy(client.ip());
                    // The connection of a network at its limit is closed.
                    let Ok(held) = self.server.live.connections.enter(client.ip(), is_proxy).await else {
                        continue;
                    };
                    // Responses are written whole, so that Nagle's algorithm only delays them.
                    let _ = stream.set_nodelay(true);
                    let local = reached(&stream, listening);
                    let from = client.ip().to_canonical();
                    if from.is_loopback() || from == local.ip() {
                        // An error costs speed only.
                        let _ = SockRef::from(&stream).set_send_buffer_size(SENT_WITHIN_A_MACHINE);
                    }
                    let (server, stage) = (self.server.clone(), self.stage.clone());
                    let peer = Peer::Tcp { client, local };
                    match tls {
                        Some(tls) => {
                            tokio::spawn(server.secure(stream, tls.clone(), peer, stage, held));
                        }
                        None if server.live.get().http2_clear => {
                            tokio::spawn(server.either(stream, peer, stage, held));
                        }
                        None => {
                            tokio::spawn(server.http1(stream, peer, false, stage, Place::Tcp(held)));
                        }
                    }
                }
                Err(error) => {
                    if is_out_of_descriptors(&error) {
                        self.server.live.connections.evict_idle();
                    }
                    after_failed_accept(&error).await;
                }
            }
        }
    }

    pub(super) async fn accept_control(&self, control: Option<&Control>) -> std::convert::Infallible {
        let Some(Control { listener, .. }) = control else { return std::future::pending().await };
        loop {
            let permit = permit(&self.control).await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let open = Open::new(self.server.live.get().metrics.connections.of("control"));
                    let (server, stage) = (self.server.clone(), self.stage.clone());
                    tokio::spawn(server.http1(
                        stream,
                        Peer::Control,
                        false,
                        stage,
                        Place::Control(permit, open),
                    ));
                }
                Err(error) => after_failed_accept(&error).await,
            }
        }
    }
}

/// Returns the local address of a connection. A listener on one address needs no system call.
fn reached(stream: &TcpStream, listening: SocketAddr) -> SocketAddr {
    if !listening.ip().is_unspecified() {
        return listening;
    }
    let local = stream.local_addr().unwrap_or(listening);
    SocketAddr::new(local.ip().to_canonical(), local.port())
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("this semaphore is never closed")
}
