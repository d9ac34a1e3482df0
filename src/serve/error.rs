//! Errors of a start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::gateway::SetupError;
use crate::tls;
use crate::tls::pair::PairError;
use crate::upstreams::UpstreamError;

/// A failed start. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{}", .0.message)]
    Exposed(ConfigError),
    #[error(transparent)]
    Data(#[from] registry::Error),
    #[error("cannot serve HTTPS: {0}")]
    Tls(#[from] tls::OpenError),
    #[error(
        "{} is the data directory of a gateway, which stores accounts and no images: start it with `wharfinger gateway`, \
         or give the registry another data directory", .0.display()
    )]
    IsAGateways(PathBuf),
    #[error(
        "{} holds images, and a gateway stores accounts only: give it another data directory, or serve these images \
         with `wharfinger serve`", .0.display()
    )]
    HoldsImages(PathBuf),
    #[error("a gateway stores no blobs: remove blobs.url")]
    GatewayBlobs,
    #[error("a gateway keeps its accounts in its data directory: remove metadata.url")]
    GatewayMetadata,
    #[error("a gateway is one server: remove cluster.address")]
    GatewayCluster,
    #[error(
        "cluster.address is for several servers of one registry, which need metadata.url (PostgreSQL) and blobs.url (a \
         bucket)"
    )]
    ClusterStorage,
    #[error("cannot use the file that cluster.ca names")]
    ClusterCa(#[source] PairError),
    #[error(transparent)]
    Gateway(#[from] SetupError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("cannot read random numbers from the system")]
    Random,
    #[error("cannot listen on {address}{}", hint(source))]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot listen on {address}, which tls.redirect names{}", redirect_hint(source))]
    Redirect { address: SocketAddr, source: io::Error },
    #[error("cannot listen on {address}, which metrics.listen names{}", redirect_hint(source))]
    Metrics { address: SocketAddr, source: io::Error },
    #[error("cannot make the control socket {}", path.display())]
    Control { path: PathBuf, source: io::Error },
    #[error("cannot duplicate the listening sockets")]
    Sockets(#[source] io::Error),
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

/// A hint for an address that cannot be bound.
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

/// The same hint for `tls.redirect` and `metrics.listen`.
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
