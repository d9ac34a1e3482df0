//! The table of distribution's configuration keys, versions 2 and 3. A key stands for all keys below it.

use super::draft::Draft;
use super::readers;
use super::report::Outcome;
use super::yaml::Node;
use super::{azure, notifications, object_store, pull_through};

/// Reads a key. Gets the root, because some keys belong together, and the key's value.
pub(super) type Reader = fn(&mut Draft, &Node, &Node) -> Outcome;

pub(super) enum Rule {
    /// The value decides.
    Read(Reader),
    /// It has no counterpart, for this reason.
    None(&'static str),
    /// Without it the registry would be open, as this text says.
    Refuse(&'static str),
}

use Rule::{None as Dropped, Read, Refuse};

const OBJECT_STORAGE: &str = "blobs are in a directory, or in a bucket of S3 or Azure (`blobs.url`); copy the images \
     with `skopeo sync`";
const RETRIES: &str = "failed requests are sent again, with growing intervals";
const PARTS: &str = "parts of uploads have a fixed size";
const REDIS: &str = "no Redis is needed: metadata is in SQLite, and caches are in memory";
const HEALTH: &str = "`/readyz` reports whether images can be served; it has no further checks";
const SCHEMA_1: &str = "images of schema 1 are served if they are in the directory, and not signed anew";

pub(super) static KEYS: &[(&str, Rule)] = &[
    ("version", Read(readers::version)),
    ("log.accesslog.disabled", Read(readers::access_log)),
    ("log.level", Read(readers::log_level)),
    ("loglevel", Read(readers::old_log_level)),
    ("log.formatter", Read(readers::log_format)),
    ("log.fields", Dropped("lines of the log have fixed fields; a log collector can add others")),
    ("log.hooks", Dropped("the log sends no mail; a log collector can, from standard error")),
    ("log.reportcaller", Dropped("`log.format = \"json\"` names the part of the program in each line")),
    ("storage.filesystem.rootdirectory", Read(readers::root_directory)),
    ("storage.filesystem.maxthreads", Dropped("the number of threads for the disk needs no setting")),
    ("storage.inmemory", Dropped("images are kept in a directory, never in memory alone")),
    ("storage.s3.bucket", Read(object_store::bucket)),
    ("storage.s3.rootdirectory", Read(object_store::directory)),
    ("storage.s3.region", Read(object_store::region)),
    ("storage.s3.regionendpoint", Read(object_store::endpoint)),
    ("storage.s3.forcepathstyle", Read(object_store::path_style)),
    ("storage.s3.accesskey", Read(object_store::access_key)),
    ("storage.s3.secretkey", Read(object_store::secret_key)),
    ("storage.s3.secure", Read(object_store::secure)),
    ("storage.s3.skipverify", Read(object_store::skip_verify)),
    ("storage.s3.v4auth", Read(object_store::signature)),
    ("storage.s3.encrypt", Read(object_store::encrypt)),
    ("storage.s3.keyid", Dropped("objects get the encryption of the bucket; name the key there")),
    ("storage.s3.storageclass", Read(object_store::storage_class)),
    ("storage.s3.objectacl", Read(object_store::access_list)),
    ("storage.s3.accelerate", Read(object_store::special_endpoint)),
    ("storage.s3.usedualstack", Read(object_store::special_endpoint)),
    ("storage.s3.usefipsendpoint", Read(object_store::special_endpoint)),
    ("storage.s3.redirectendpoint", Read(object_store::redirect_endpoint)),
    ("storage.s3.chunksize", Dropped(PARTS)),
    ("storage.s3.multipartcopychunksize", Dropped(PARTS)),
    ("storage.s3.multipartcopymaxconcurrency", Dropped(PARTS)),
    ("storage.s3.multipartcopythresholdsize", Dropped(PARTS)),
    ("storage.s3.loglevel", Dropped("`log.level` is that of the whole program")),
    ("storage.s3.useragent", Dropped("requests to the store name this program")),
    ("storage.azure.container", Read(azure::container)),
    ("storage.azure.rootdirectory", Read(azure::directory)),
    ("storage.azure.accountname", Read(azure::account)),
    ("storage.azure.accountkey", Read(azure::account_key)),
    ("storage.azure.credentials.type", Read(azure::credentials)),
    ("storage.azure.credentials.clientid", Dropped(azure::IDENTITY)),
    ("storage.azure.credentials.tenantid", Dropped(azure::IDENTITY)),
    ("storage.azure.credentials.secret", Dropped(azure::IDENTITY)),
    ("storage.azure.realm", Read(azure::realm)),
    ("storage.azure.serviceurl", Read(azure::service)),
    (
        "storage.azure.connectionstring",
        Dropped("put its AccountName and AccountKey into `accountname` and `accountkey`"),
    ),
    ("storage.azure.max_retries", Dropped(RETRIES)),
    ("storage.azure.retry_delay", Dropped(RETRIES)),
    ("storage.azure.copy_status_poll_max_retry", Dropped(RETRIES)),
    ("storage.azure.copy_status_poll_delay", Dropped(RETRIES)),
    ("storage.gcs", Dropped(OBJECT_STORAGE)),
    ("storage.swift", Dropped(OBJECT_STORAGE)),
    ("storage.oss", Dropped(OBJECT_STORAGE)),
    ("storage.tag", Dropped("tags are in a database, and a deletion reads no files")),
    ("storage.redirect.disable", Read(object_store::redirect)),
    (
        "storage.cache",
        Dropped("descriptors are in the database; `cache.manifest_bytes` is the cache of manifests"),
    ),
    ("storage.delete.enabled", Read(readers::delete)),
    ("storage.maintenance.uploadpurging.enabled", Read(readers::upload_purging)),
    ("storage.maintenance.uploadpurging.age", Read(readers::upload_age)),
    (
        "storage.maintenance.uploadpurging.interval",
        Dropped("uploads expire by themselves; there is no interval"),
    ),
    ("storage.maintenance.uploadpurging.dryrun", Dropped("expired uploads are always removed")),
    ("storage.maintenance.readonly.enabled", Read(readers::read_only)),
    ("auth.none", Read(readers::no_authentication)),
    (
        "auth.silly",
        Refuse(
            "it lets in everyone who sends any Authorization header, and has no counterpart; make accounts \
             (wharfinger user add), and remove it from the file",
        ),
    ),
    (
        "auth.token",
        Refuse(
            "tokens of another server are not accepted, and without them everyone could push; let that server answer \
             for `auth.forward`, or make accounts here, and remove the section from the file",
        ),
    ),
    ("auth.htpasswd.path", Read(readers::htpasswd)),
    (
        "auth.htpasswd.realm",
        Dropped("clients use tokens, which have no realm text; `[[auth.locations]]` can set one for Basic"),
    ),
    ("middleware.registry", Read(readers::middleware)),
    ("middleware.repository", Read(readers::middleware)),
    (
        "middleware.storage",
        Dropped("blobs are served by the registry itself; there are no redirects to a CDN"),
    ),
    ("reporting", Dropped("nothing is reported to other services; errors are in the log")),
    ("http.addr", Read(readers::address)),
    ("http.net", Read(readers::network)),
    (
        "http.prefix",
        Dropped("let the proxy remove the prefix, and send it in X-Forwarded-Prefix (`proxy.trusted`)"),
    ),
    ("http.host", Read(readers::external_url)),
    ("http.secret", Dropped("the state of uploads is in the database, and not signed by clients' copies")),
    ("http.relativeurls", Read(readers::relative_urls)),
    ("http.draintimeout", Read(readers::drain_timeout)),
    ("http.tls.certificate", Read(readers::certificate)),
    ("http.tls.key", Read(readers::certificate_key)),
    ("http.tls.clientcas", Read(readers::client_certificates)),
    ("http.tls.clientauth", Read(readers::client_certificate_mode)),
    ("http.tls.minimumtls", Read(readers::minimum_tls)),
    ("http.tls.ciphersuites", Dropped("the TLS library has a fixed list of current cipher suites")),
    ("http.tls.letsencrypt.cachefile", Dropped("the certificate is kept in the data directory")),
    ("http.tls.letsencrypt.email", Read(readers::acme_email)),
    ("http.tls.letsencrypt.hosts", Read(readers::acme_hosts)),
    ("http.tls.letsencrypt.directoryurl", Read(readers::acme_directory)),
    ("http.debug.addr", Read(readers::metrics_address)),
    ("http.debug.prometheus.enabled", Read(readers::metrics_enabled)),
    ("http.debug.prometheus.path", Read(readers::metrics_path)),
    ("http.headers", Read(readers::headers)),
    ("http.http2.disabled", Read(readers::http2)),
    ("http.h2c.enabled", Read(readers::clear_http2)),
    ("notifications.events.includereferences", Read(notifications::references)),
    ("notifications.endpoints", Read(notifications::endpoints)),
    ("redis", Dropped(REDIS)),
    ("health", Dropped(HEALTH)),
    ("catalog.maxentries", Read(readers::page_entries)),
    ("tags.maxtags", Read(readers::page_entries)),
    ("proxy.remoteurl", Read(pull_through::remote_url)),
    ("proxy.username", Read(pull_through::credential)),
    ("proxy.password", Read(pull_through::credential)),
    ("proxy.exec.command", Read(pull_through::credential)),
    (
        "proxy.exec.lifetime",
        Dropped("a credential helper is asked again when the upstream refuses its answer"),
    ),
    (
        "proxy.ttl",
        Dropped(
            "fetched images stay; `max_bytes` of `[[upstream]]` evicts those that were pulled longest ago, and a \
             `[[retention]]` with `keep_pulled_within` those that were not pulled for a time",
        ),
    ),
    ("proxy.cachewritetimeout", Dropped("a fetch outlives its clients, and has no limit in all")),
    ("compatibility.schema1", Dropped(SCHEMA_1)),
    ("validation.enabled", Dropped("manifests are always validated")),
    ("validation.disabled", Dropped("manifests are always validated")),
    (
        "validation.manifests.urls",
        Dropped("URLs in manifests are kept as they are; the registry never opens them"),
    ),
    ("validation.manifests.indexes.platforms", Read(readers::index_platforms)),
    (
        "validation.manifests.indexes.platformlist",
        Dropped("with `registry.sparse_indexes`, images of every platform may be missing"),
    ),
    ("policy.repository.classes", Dropped("every media type of the specifications is accepted")),
];

/// Returns the rule of a key itself.
pub(super) fn rule(key: &str) -> Option<&'static Rule> {
    KEYS.iter().find(|(known, _)| *known == key).map(|(_, rule)| rule)
}

/// Whether the table has keys below this one.
pub(super) fn is_section(key: &str) -> bool {
    KEYS.iter().any(|(known, _)| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// Whether a configuration may have this key at its top.
pub(super) fn is_top_level(key: &str) -> bool {
    rule(key).is_some() || is_section(key)
}

#[cfg(test)]
mod tests {
    use super::super::{ImportSources, Outcome, import};
    use super::*;

    /// The keys in the configuration references of distribution 2.8.3 and 3.1.1, each with a value.
    const DOCUMENTED: &str = include_str!("documented_keys.txt");

    fn documented() -> impl Iterator<Item = (&'static str, &'static str)> {
        DOCUMENTED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "))
    }

    /// Returns a configuration with this key alone. `x[]` is a list of maps.
    fn configuration(key: &str, value: &str) -> String {
        let nested =
            key.split('.').rev().fold(value.to_owned(), |below, part| match part.strip_suffix("[]") {
                Some(name) => format!("{{{name}: [{below}]}}"),
                None => format!("{{{part}: {below}}}"),
            });
        format!("{{version: 0.1, {}", &nested[1..])
    }

    #[test]
    fn every_documented_key_is_accounted_for() {
        let (mut all, mut accounted) = (0, 0);
        for (key, value) in documented() {
            all += 1;
            let text = if key == "version" { "version: 0.1".to_owned() } else { configuration(key, value) };
            let sources =
                ImportSources { files: vec![("config.yml".into(), text.clone())], environment: Vec::new() };
            let imported = import(&sources).unwrap_or_else(|error| panic!("{key}: {error:?}\n{text}"));
            let key = key.replace("[]", "");
            let covers = |known: &str| key == known || key.starts_with(&format!("{known}."));
            let finding = imported.findings.iter().find(|finding| covers(&finding.key));
            let finding = finding.unwrap_or_else(|| panic!("{key}: {:?}\n{text}", imported.findings));
            assert!(!matches!(finding.outcome, Outcome::Unknown { .. }), "{key}: {finding}");
            accounted += 1;
        }
        assert!(all > 200, "the list is complete: {all}");
        assert_eq!(accounted, all);
    }

    #[test]
    fn table_has_no_key_twice_or_below_another() {
        for (index, (key, _)) in KEYS.iter().enumerate() {
            for (other, _) in &KEYS[index + 1..] {
                assert_ne!(key, other);
                assert!(
                    !other.starts_with(&format!("{key}.")) && !key.starts_with(&format!("{other}.")),
                    "{key} {other}"
                );
            }
        }
    }
}
