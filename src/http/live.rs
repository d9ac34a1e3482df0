//! The state of a running server that a reload replaces: [`App`], and the limits on connections.
//!
//! Each request takes the present state, and keeps it to its end. So a reload cuts nothing, and connections that are
//! open already get the new settings with their next request.

use std::io;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::config::{Config, Effective};
use crate::http::app::App;
use crate::http::server::connection_table::ConnectionTable;

/// The settings that [`LiveApp::apply`] changes.
pub(crate) const LIVE: &[&str] = &[
    "external_url",
    "http2_clear",
    "audit.pulls",
    "auth.challenge",
    "auth.forward_headers",
    "auth.forward_timeout",
    "auth.forward_cache",
    "proxy.trusted",
    "web.cors_origins",
    "limits.body_memory",
    "limits.header_timeout",
    "limits.body_timeout",
    "limits.write_timeout",
    "limits.idle_timeout",
    "limits.connections",
    "limits.connections_per_address",
    "limits.streams",
    "limits.header_bytes",
    "limits.headers",
    "limits.requests_per_address",
    "limits.requests_per_account",
    "limits.bandwidth_per_address",
    "limits.bandwidth_per_account",
    "limits.page_entries",
    "limits.shutdown_timeout",
];

/// The present state.
pub(crate) struct LiveApp {
    app: ArcSwap<App>,
    /// The connections of `listen`.
    pub(crate) connections: ConnectionTable,
}

impl LiveApp {
    pub(crate) fn new(app: Arc<App>) -> Arc<Self> {
        let open = app.metrics.connections.of("listen").clone();
        let limits = &app.limits;
        // While all connections are busy, further ones wait in the system's backlog.
        let connections =
            ConnectionTable::new("listen", limits.connections, limits.connections_per_address, open);
        Arc::new(Self { app: ArcSwap::new(app), connections })
    }

    /// Returns the present state, for a moment.
    pub(crate) fn get(&self) -> Guard<Arc<App>> {
        self.app.load()
    }

    /// Shows the settings to administrators.
    pub(crate) fn describe(&self, settings: &[Effective]) {
        if let Some(web) = &self.get().web {
            web.describe(settings);
        }
    }

    /// Puts the settings of [`LIVE`] into force.
    ///
    /// # Errors
    /// The HTTP client of `auth.forward` cannot be built. Then nothing changes.
    pub(crate) fn apply(&self, config: &Config) -> io::Result<()> {
        self.app.store(Arc::new(self.get().with_settings(config)?));
        self.connections.set_limits(config.limits.connections, config.limits.connections_per_address);
        Ok(())
    }
}
