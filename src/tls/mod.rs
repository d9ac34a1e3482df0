//! TLS for HTTPS: handshakes, and the certificate with its sources.
//!
//! - `acceptor` performs handshakes. `certificate_store` holds the current certificate and replaces it.
//! - [`pair`] reads a certificate with its key from files, [`certificate`] parses X.509.
//! - [`self_signed`] creates a certificate, [`trust`] prints how clients come to trust it; [`acme`] orders
//!   one from an authority.
//! - [`client`] verifies the certificates of other servers.

mod acceptor;
pub mod acme;
pub mod certificate;
mod certificate_store;
pub mod client;
pub mod pair;
pub mod self_signed;
pub mod trust;

pub(crate) use acceptor::HANDSHAKE;
pub use acceptor::{Acceptor, Stream};
pub use certificate_store::{OpenError, Origin, check};

/// The directory of the certificates that the server creates or orders, below its own directory.
pub const DIRECTORY: &str = "tls";
