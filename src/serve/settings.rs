//! Converts the configuration into the settings of the registry and its accounts.

use std::sync::Arc;

use registry::access::{AccountSettings, AuditSink, LocationAccess};
use registry::collection::GarbagePolicy;
use registry::rules::{KeepBy, QuotaRule, QuotaScope, RetentionRule, Rules, TagRule};
use registry::{Policy, RetentionPolicy};
use store::StoreError;
use store::database_url::DatabaseUrl;
use store::object_settings::{AccessKey, ObjectSettings, SharedKey};

use crate::audit_log;
use crate::config::{Admits, By, Config, Quota, Retention};
use crate::operator_file;

pub(crate) fn policy(config: &Config) -> Policy {
    Policy {
        delete: config.registry.delete,
        sparse_indexes: config.registry.sparse_indexes,
        sparse_images: config.registry.sparse_images,
        redirect: config.blobs.redirect.clone(),
        ship_metadata: config.blobs.ship_metadata,
        manifest_bytes: config.limits.manifest_bytes,
        blob_bytes: config.limits.blob_bytes,
        upload_expiry: config.registry.upload_expiry,
        cache_bytes: config.cache.manifest_bytes,
        check_interval: Some(config.check.interval).filter(|interval| !interval.is_zero()),
        check_read_rate: config.check.read_rate,
        event_retention: config.events.retention,
        pull_events: config.events.pulls as u64,
        reserve: config.storage.reserve,
        rules: Arc::new(rules(config)),
        retention: retention(config),
        garbage: GarbagePolicy {
            interval: config.gc.interval,
            grace: config.gc.grace,
            untagged: config.gc.untagged,
        },
    }
}

/// Returns the bucket of the blobs.
pub(super) fn objects(config: &Config) -> Result<Option<ObjectSettings>, StoreError> {
    let blobs = &config.blobs;
    let Some(url) = &blobs.url else { return Ok(None) };
    let refused = |reason: &str| StoreError::Directory(reason.to_owned());
    let key = match (blobs.access_key.as_str(), &blobs.secret_key_file) {
        ("", None) => None,
        ("", Some(_)) => return Err(refused("blobs.secret_key_file needs blobs.access_key")),
        (_, None) => return Err(refused("blobs.access_key needs blobs.secret_key_file")),
        (id, Some(file)) => {
            let secret = operator_file::read_to_string(file)
                .map_err(|error| StoreError::io("read blobs.secret_key_file", file, error))?;
            let key = AccessKey { id: id.to_owned(), secret: secret.trim().to_owned() };
            Some(SharedKey::of_file(key, file))
        }
    };
    Ok(Some(ObjectSettings {
        url: url.as_str().to_owned(),
        endpoint: blobs.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned()),
        region: Some(blobs.region.clone()).filter(|region| !region.is_empty()),
        path_style: blobs.path_style,
        key,
        view: blobs.view,
        cache: blobs.cache,
    }))
}

/// Returns the access key of the bucket. Blocks while it reads the file of the secret.
pub(crate) fn access_key(config: &Config) -> Result<Option<SharedKey>, StoreError> {
    Ok(objects(config)?.and_then(|objects| objects.key))
}

/// Returns the database of the metadata. `None` if it is a file.
pub(super) fn database(config: &Config) -> Result<Option<DatabaseUrl>, StoreError> {
    let metadata = &config.metadata;
    let refused = |reason: &str| Err(StoreError::Directory(reason.to_owned()));
    let Some(url) = &metadata.url else {
        return match metadata.password_file {
            Some(_) => refused("metadata.password_file needs metadata.url"),
            None => Ok(None),
        };
    };
    if config.backup.directory.is_some() {
        return refused("backup.directory is for metadata in a file: back up PostgreSQL with its own tools");
    }
    let readers = u32::try_from(metadata.pool_size).unwrap_or(u32::MAX);
    let database = url.database.clone().with_readers(readers);
    let Some(file) = &metadata.password_file else { return Ok(Some(database)) };
    let password = operator_file::read_to_string(file)
        .map_err(|error| StoreError::io("read metadata.password_file", file, error))?;
    Ok(Some(database.with_password(password.trim_end_matches(['\r', '\n']))))
}

fn rules(config: &Config) -> Rules {
    let tag_rule = |repositories: &Vec<_>, tags: &Vec<_>| TagRule {
        repositories: repositories.clone(),
        tags: tags.clone(),
    };
    Rules {
        immutable: config.immutable.iter().map(|rule| tag_rule(&rule.repositories, &rule.tags)).collect(),
        protected: config.protected.iter().map(|rule| tag_rule(&rule.repositories, &rule.tags)).collect(),
        quotas: config.quota.iter().filter_map(quota).collect(),
    }
}

fn quota(quota: &Quota) -> Option<QuotaRule> {
    let scope = match (&quota.owner, &quota.repositories) {
        (Some(owner), _) => QuotaScope::Owner(owner.clone()),
        (None, Some(selector)) => QuotaScope::Repositories { selector: selector.clone(), each: quota.each },
        // The configuration refuses such a quota.
        (None, None) => return None,
    };
    Some(QuotaRule { scope, bytes: quota.bytes, tags: quota.tags.map(|tags| tags as u64) })
}

fn retention(config: &Config) -> RetentionPolicy {
    let rule = |rule: &Retention| RetentionRule {
        repositories: rule.repositories.clone(),
        tags: rule.tags.clone(),
        keep_newest: rule.keep_newest,
        by: match rule.by {
            By::Push => KeepBy::Push,
            By::Version => KeepBy::Version,
        },
        keep_pushed_within: rule.keep_pushed_within,
        keep_pulled_within: rule.keep_pulled_within,
        keep: rule.keep.clone(),
    };
    RetentionPolicy {
        rules: config.retention.iter().map(rule).collect(),
        minimum_age: config.retention_minimum_age,
        schedule: config.retention_schedule.clone(),
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
