//! Converts the configuration into the settings of the registry and its accounts.

use std::sync::Arc;

use registry::Policy;
use registry::access::{AccountSettings, AuditSink, LocationAccess};

use crate::audit_log;
use crate::config::{Admits, Config};

pub(super) fn policy(config: &Config) -> Policy {
    Policy {
        delete: config.registry.delete,
        sparse_indexes: config.registry.sparse_indexes,
        sparse_images: config.registry.sparse_images,
        manifest_bytes: config.limits.manifest_bytes,
        blob_bytes: config.limits.blob_bytes,
        upload_expiry: config.registry.upload_expiry,
        cache_bytes: config.cache.manifest_bytes,
        check_interval: Some(config.check.interval).filter(|interval| !interval.is_zero()),
        check_read_rate: config.check.read_rate,
    }
}

/// Returns the settings of accounts.
#[must_use]
pub fn account_settings(config: &Config) -> AccountSettings {
    let auth = &config.auth;
    AccountSettings {
        htpasswd: auth.htpasswd.clone(),
        forward: auth.forward.is_some(),
        required: auth.required,
        open: config.open,
        location_rules: auth
            .locations
            .iter()
            .map(|location| (location.path.clone(), location_rules(location.auth)))
            .collect(),
        service: auth.service.clone(),
        issuer: auth.service.clone(),
        token_lifetime: auth.token_lifetime,
        remember: auth.remember,
        self_registration: auth.self_registration,
        session_lifetime: config.web.session_lifetime,
        audit_retention: config.audit.retention,
        audit_sink: config.audit.log.then(|| Arc::new(audit_log::print) as AuditSink),
        ..AccountSettings::default()
    }
}

fn location_rules(admits: Admits) -> LocationAccess {
    match admits {
        Admits::Open => LocationAccess::Everyone,
        Admits::Basic | Admits::Token => LocationAccess::Accounts,
    }
}
