//! What every request needs: the registry, how to name addresses, and the limits.

use registry::Registry;

use super::links::Links;
use super::request_id::RequestIds;
use crate::config::{Config, Limits};

/// What every request needs; one for the whole server.
pub(crate) struct App {
    pub(crate) registry: Registry,
    pub(crate) links: Links,
    pub(crate) limits: Limits,
    pub(crate) ids: RequestIds,
}

impl App {
    pub(crate) fn new(registry: Registry, config: &Config) -> Self {
        Self {
            registry,
            links: Links::new(config.external_url.as_ref().map_or("", |url| url.as_str())),
            limits: config.limits.clone(),
            ids: RequestIds::new(),
        }
    }
}
