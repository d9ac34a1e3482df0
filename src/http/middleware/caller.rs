//! The caller of a handler. Only `authorization` makes the [`Authorized`] that it needs.

use std::net::{IpAddr, SocketAddr};

use accounts::{Actor, Visible};
use hyper::header::HeaderValue;
use registry::access::{AuditEvent, Identity};

use crate::http::links::{LinkBase, Links};
use crate::http::middleware::client_info::ClientInfo;
use crate::http::server::connection::Connection;

/// The result of an authorization.
pub(crate) struct Authorized {
    pub(super) identity: Identity,
    pub(super) visible: Option<Visible>,
}

impl Authorized {
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// The sender of an authorized request. It borrows and derives on demand: a manifest in memory costs less
/// than a microsecond here, and needs none of the parts.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    authorized: &'a Authorized,
    client: &'a ClientInfo,
    connection: &'a Connection,
    links: &'a LinkBase,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(
        authorized: &'a Authorized,
        client: &'a ClientInfo,
        connection: &'a Connection,
        links: &'a LinkBase,
    ) -> Self {
        Self { authorized, client, connection, links }
    }

    pub(crate) fn identity(&self) -> &'a Identity {
        &self.authorized.identity
    }

    /// The caller and its request, as changes record them.
    pub(crate) fn actor(&self, request_id: &HeaderValue) -> Actor {
        Actor {
            account: AuditEvent::account_of(self.identity()),
            request_id: request_id.to_str().ok().map(str::to_owned),
            address: (!matches!(self.identity(), Identity::Operator)).then_some(self.client.address),
            is_administrator: match self.identity() {
                Identity::Operator => true,
                Identity::Account(account) => account.administrator,
                Identity::Anonymous => false,
            },
            ..Actor::default()
        }
    }

    /// The repositories that a list may show to the caller. Empty for endpoints that are not lists.
    pub(crate) fn visible(&self) -> Visible {
        self.authorized.visible.clone().unwrap_or_else(Visible::nothing)
    }

    pub(crate) fn links(&self) -> Links {
        self.links.of(self.client)
    }

    /// The client's address, behind trusted proxies.
    pub(crate) fn address(&self) -> IpAddr {
        self.client.address
    }

    pub(crate) fn client(&self) -> &'a ClientInfo {
        self.client
    }

    /// The local address of the connection. `None` for the control socket.
    pub(crate) fn reached(&self) -> Option<SocketAddr> {
        self.connection.reached()
    }

    /// Whether the client used HTTPS.
    pub(crate) fn is_secure(&self) -> bool {
        self.client.secure
    }
}
