//! The load generator: an HTTP/1.1 client that costs little beside the server that it measures.
//!
//! It shares the machine with the server, so what it spends is taken from the server. Hence sockets without a
//! framework above them, requests prepared beforehand, and bodies that the kernel discards instead of copying.

pub(crate) mod connection;
pub(crate) mod many;
pub(crate) mod paced;
pub(crate) mod push;
pub(crate) mod response;
