//! How is another registry asked? A client of the distribution protocol for several upstreams with one
//! content.
//!
//! It keeps connections, answers challenges (Basic and the token exchange), applies timeouts, backs off from
//! an upstream that fails and fails over to the next one. It knows no server types: the gateway turns its
//! results into responses.

#![allow(missing_docs, reason = "the names of most fields say what they hold")]

mod access_error;
mod body;
mod client;
mod connector;
mod content;
mod credentials;
mod error;
mod fetch;
mod helper;
mod locations;
mod peer;
mod propagation;
mod public_address;
mod retry_after;
mod search;
mod upstream;

pub use access_error::AccessError;
pub use body::{OutgoingBody, SourceError};
pub use client::{Client, Timeouts, UpstreamRequest, UpstreamResponse, read_to_end, repository_scope};
pub use connector::{IpVersion, Network, Proxy};
pub use content::{ManifestHead, UpstreamBlob, UpstreamManifest};
pub use credentials::{Account, CredentialStore};
pub use error::{BoxError, Error, error_chain};
pub use fetch::Fetched;
pub use helper::CredentialHelper;
pub use locations::{Location, location, next_page};
pub use peer::PeerClient;
pub use propagation::propagate_traces;
pub use public_address::is_public;
pub use search::SearchHit;
pub use upstream::{Condition, Health, Upstream};
