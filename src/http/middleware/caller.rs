//! The caller of a handler. Only `authorization` makes one.

use std::net::{IpAddr, SocketAddr};

use accounts::{Actor, Visible};
use hyper::header::HeaderValue;
use registry::access::{AuditEvent, Identity};

use crate::http::links::Links;
use crate::http::middleware::client_info::ClientInfo;

/// The sender of an authorized request.
pub(crate) struct Caller {
    pub(super) identity: Identity,
    pub(super) client: ClientInfo,
    pub(super) local: Option<SocketAddr>,
    pub(super) visible: Option<Visible>,
    pub(super) links: Links,
    pub(super) host: Option<HeaderValue>,
}

impl Caller {
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The caller and its request, as changes record them.
    pub(crate) fn actor(&self, request_id: &HeaderValue) -> Actor {
        Actor {
            account: AuditEvent::account_of(&self.identity),
            request_id: request_id.to_str().ok().map(str::to_owned),
            address: (!matches!(self.identity, Identity::Operator)).then(|| self.client.address),
        }
    }

    /// The repositories that a list may show to the caller. Empty for endpoints that are not lists.
    pub(crate) fn visible(&self) -> Visible {
        self.visible.clone().unwrap_or_else(Visible::nothing)
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// The client's address, behind trusted proxies.
    pub(crate) fn address(&self) -> IpAddr {
        self.client.address
    }

    pub(crate) fn client(&self) -> &ClientInfo {
        &self.client
    }

    /// The local address of the connection. `None` for the control socket.
    pub(crate) fn reached(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Whether the client used HTTPS.
    pub(crate) fn is_secure(&self) -> bool {
        self.client.secure
    }

    /// The `Host` header of the request.
    pub(crate) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }
}
