//! HTTPS: the certificate, where it comes from, and the handshake that makes a connection of TCP one of TLS.
//!
//! - `acceptor` makes connections; `source` knows which certificate is in force, and puts a new one in its place.
//! - [`pair`] reads a certificate with its key from files, [`certificate`] says what it says.
//! - [`client`] decides which certificates of other servers are trusted.
//! - [`self_signed`] makes one, [`trust`] says how clients come to trust it; [`acme`] obtains one from
//!   an authority.

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

/// Where the certificates that the server itself looks after are kept, below a directory of its own.
pub const DIRECTORY: &str = "tls";
