//! The load generator: a client of HTTP/1.1 and HTTP/2 that costs little beside the server that it measures.
//!
//! It shares the machine with the server, so what it spends is taken from the server. Hence sockets without a
//! framework above them, requests prepared beforehand, and bodies that the kernel discards instead of
//! copying.

pub(crate) mod connection;
mod http1;
mod http2;
pub(crate) mod many;
pub(crate) mod origin;
pub(crate) mod paced;
mod pipelined;
pub(crate) mod push;
pub(crate) mod response;
pub(crate) mod stream;
