//! The state of a running server that a reload replaces: [`App`], and the limits on connections.
//!
//! Each request takes the present state, and keeps it to its end. So a reload cuts nothing, and connections
//! that are open already get the new settings with their next request.

use std::io;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use registry::Policy;
use registry::relocation::SharedKey;

use crate::config::{Config, Effective, Upstream};
use crate::http::app::App;
use crate::http::server::connection_table::ConnectionTable;
use crate::http::server::descriptors;
use crate::upstreams::{self, UpstreamError};
use crate::webhooks::{Configured, WebhookError};

/// The reason why settings cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("cannot make the client of auth.forward")]
    Forward(#[source] io::Error),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    #[error("blobs.access_key was added or removed: restart the server")]
    AccessKey,
    #[error("cannot count the use of the quotas")]
    Policy(#[source] registry::Error),
    #[error("cannot keep events for the webhooks")]
    Events(#[source] registry::Error),
}

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
        let connections = ConnectionTable::new(
            "listen",
            descriptors::connections(limits.connections),
            limits.connections_per_address,
            open,
        );
        Arc::new(Self { app: ArcSwap::new(app), connections })
    }

    /// Returns the present state, for a moment.
    pub(crate) fn get(&self) -> Guard<Arc<App>> {
        self.app.load()
    }

    /// Shows the settings to administrators.
    pub(crate) fn describe(&self, settings: &[Effective]) {
        self.get().in_force.describe(settings);
    }

    /// Puts other settings into force, as far as they can change in a running server.
    ///
    /// # Errors
    /// [`ApplyError`]. Then nothing changes.
    pub(crate) async fn apply(
        &self,
        before: &Config,
        config: &Config,
        policy: Policy,
        key: Option<SharedKey>,
    ) -> Result<(), ApplyError> {
        let app = Guard::into_inner(self.get());
        let has_key = app.registry.directory().objects().is_some_and(|objects| objects.key.is_some());
        if has_key != key.is_some() {
            return Err(ApplyError::AccessKey);
        }
        // All that can fail comes before the first change. A gateway has no upstreams of its own.
        let upstreams = match has_other_upstreams(before, config) && app.content_proxy.is_none() {
            true => Some(upstreams::read(config)?),
            false => None,
        };
        let webhooks = match has_other_webhooks(before, config) {
            true => Some(Configured::new(&app.registry, config)?),
            false => None,
        };
        let mut next = app.with_settings(config).map_err(ApplyError::Forward)?;
        if !config.webhook.is_empty() && !app.registry.is_replica() {
            app.registry.keep_for_deliveries().await.map_err(ApplyError::Events)?;
        }
        app.registry.set_policy(policy).await.map_err(ApplyError::Policy)?;
        if let Some(key) = &key {
            app.registry.set_access_key(key);
        }
        if let Some(upstreams) = upstreams {
            next.mirror = upstreams::replace(app.mirror.as_ref(), &app.registry, upstreams);
            next.metrics.set_mirror(next.mirror.as_ref());
        }
        if let Some(webhooks) = webhooks {
            next.webhooks.configure(webhooks);
        }
        self.app.store(Arc::new(next));
        let connections = descriptors::connections(config.limits.connections);
        self.connections.set_limits(connections, config.limits.connections_per_address);
        Ok(())
    }
}

/// Whether the upstreams differ, or name files whose content may differ.
fn has_other_upstreams(before: &Config, config: &Config) -> bool {
    config.upstream != before.upstream || config.upstream.iter().any(Upstream::has_files)
}

/// Whether the webhooks differ, or name files whose content may differ.
fn has_other_webhooks(before: &Config, config: &Config) -> bool {
    config.webhook != before.webhook
        || config.external_url != before.external_url
        || config.webhook.iter().any(|webhook| webhook.ca.is_some())
}
