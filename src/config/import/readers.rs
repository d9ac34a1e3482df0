//! The keys of distribution whose values become settings. Each function reads one key of the table in
//! `keys.rs`.

use std::time::Duration;

use super::super::value::RawValue;
use super::draft::Draft;
use super::pull_through;
use super::report::{Outcome, dropped, refused};
use super::yaml::{Node, Value};

/// The usual directory of the registry image.
const IMAGE_DATA: &str = "/var/lib/registry";
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The value is what this registry does anyway.
pub(super) fn is_default() -> Outcome {
    Outcome::Taken { settings: Vec::new() }
}

/// Reports a setting that was set, or why it does not accept the value.
pub(super) fn taken(set: Result<&'static str, String>) -> Outcome {
    match set {
        Ok(setting) => Outcome::Taken { settings: vec![setting] },
        Err(reason) => dropped(reason),
    }
}

/// Reports a setting without which passwords or images would be less protected.
fn taken_or_refused(set: Result<&'static str, String>) -> Outcome {
    match set {
        Ok(setting) => Outcome::Taken { settings: vec![setting] },
        Err(reason) => refused(reason),
    }
}

fn set_text(draft: &mut Draft, setting: &str, node: &Node) -> Result<&'static str, String> {
    draft.set_text(setting, node.text().unwrap_or_default())
}

fn set_switch(draft: &mut Draft, setting: &str, value: bool) -> Outcome {
    taken(draft.set(setting, &RawValue::Boolean(value)))
}

/// Reads a boolean. Null is `false`, as in Go.
pub(super) fn boolean(node: &Node) -> Result<bool, Outcome> {
    match node.value {
        Value::Null => Ok(false),
        _ => node.boolean().ok_or_else(|| dropped("its value is neither true nor false")),
    }
}

pub(super) fn version(_: &mut Draft, _: &Node, _: &Node) -> Outcome {
    // The parser has checked it.
    is_default()
}

pub(super) fn log_level(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    taken(draft.set_text("log.level", &node.text().unwrap_or_default().to_lowercase()))
}

pub(super) fn old_log_level(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    if root.get("log.level").is_some() { dropped("`log.level` counts") } else { log_level(draft, root, node) }
}

pub(super) fn access_log(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        // `finish` appends it to the level.
        Ok(true) => Outcome::Taken { settings: vec!["log.level"] },
        Ok(false) => is_default(),
        Err(outcome) => outcome,
    }
}

pub(super) fn log_format(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        Some("logstash") => taken(draft.set_text("log.format", "json")),
        _ => taken(set_text(draft, "log.format", node)),
    }
}

pub(super) fn root_directory(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    if pull_through::remote(root).is_some() {
        return dropped(
            "it has images that the old cache fetched, which this one fetches again; `data` is a new directory",
        );
    }
    taken(set_text(draft, "data", node))
}

pub(super) fn delete(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(value) => set_switch(draft, "registry.delete", value),
        Err(outcome) => outcome,
    }
}

pub(super) fn upload_purging(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(true) => is_default(),
        Ok(false) => dropped("unfinished uploads always expire (`registry.upload_expiry`)"),
        Err(outcome) => outcome,
    }
}

pub(super) fn upload_age(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    taken(set_duration(draft, "registry.upload_expiry", node))
}

pub(super) fn read_only(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(false) => is_default(),
        _ => refused(
            "there is no read-only mode, and the registry would accept pushes; set it to false if it may",
        ),
    }
}

pub(super) fn no_authentication(_: &mut Draft, _: &Node, _: &Node) -> Outcome {
    is_default()
}

pub(super) fn htpasswd(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        Some(path) if !path.is_empty() => taken_or_refused(draft.set_text("auth.htpasswd", path)),
        _ => refused("it names no file, and without accounts everyone could push"),
    }
}

pub(super) fn middleware(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    let is_disabled = |item: &Node| item.get("disabled").and_then(Node::boolean) == Some(true);
    if node.items().iter().all(is_disabled) {
        return dropped("it is disabled");
    }
    refused(
        "middleware that is compiled into a registry may restrict access; remove it from the file if it does not",
    )
}

pub(super) fn address(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    let Some(address) = node.text().map(str::trim).filter(|address| !address.is_empty()) else {
        return dropped("it is empty");
    };
    let set = draft.set_text("listen", address);
    if set.is_ok() && (address.starts_with(':') || address.starts_with("*:")) {
        let port = address.rsplit(':').next().unwrap_or_default();
        draft.note(format!("`listen` is every IPv4 address; for IPv6 as well, write \"[::]:{port}\""));
    }
    taken(set)
}

pub(super) fn network(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        None | Some("" | "tcp") => is_default(),
        Some(_) => dropped("the server listens on TCP alone"),
    }
}

pub(super) fn external_url(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    taken(set_text(draft, "external_url", node))
}

pub(super) fn relative_urls(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(true) => is_default(),
        Ok(false) => dropped("a Location is relative, unless `external_url` is set"),
        Err(outcome) => outcome,
    }
}

pub(super) fn drain_timeout(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    taken(set_duration(draft, "limits.shutdown_timeout", node))
}

pub(super) fn certificate(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    taken_or_refused(set_text(draft, "tls.certificate", node))
}

pub(super) fn certificate_key(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    match root.get("http.tls.certificate").and_then(Node::text) {
        Some(certificate) if !certificate.is_empty() => taken_or_refused(set_text(draft, "tls.key", node)),
        _ => dropped("`http.tls.certificate` is missing"),
    }
}

const CLIENT_CERTIFICATES: &str = "clients have to present a certificate, which has no counterpart here; put the \
     registry behind a proxy that checks it, or remove the keys from the file if accounts are enough";

pub(super) fn client_certificates(_: &mut Draft, root: &Node, node: &Node) -> Outcome {
    if node.texts().is_empty() {
        return dropped("it is empty");
    }
    match root.get("http.tls.clientauth").and_then(Node::text).unwrap_or_default() {
        "" | "require-and-verify-client-cert" => refused(CLIENT_CERTIFICATES),
        _ => dropped("certificates of clients are not asked for; none is required in the file either"),
    }
}

pub(super) fn client_certificate_mode(_: &mut Draft, root: &Node, node: &Node) -> Outcome {
    let has_authorities =
        root.get("http.tls.clientcas").is_some_and(|authorities| !authorities.texts().is_empty());
    match node.text() {
        Some("require-and-verify-client-cert") if has_authorities => refused(CLIENT_CERTIFICATES),
        _ if has_authorities => dropped("certificates of clients are not asked for"),
        _ => dropped("`http.tls.clientcas` is missing, and so it has no effect"),
    }
}

pub(super) fn minimum_tls(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        None | Some("" | "tls1.2") => is_default(),
        Some("tls1.3") => dropped("the lowest version is TLS 1.2, with current cipher suites alone"),
        Some(_) => dropped("the lowest version is TLS 1.2"),
    }
}

/// Whether a certificate from files makes the ACME section void.
fn has_certificate(root: &Node) -> bool {
    root.get("http.tls.certificate").and_then(Node::text).is_some_and(|path| !path.is_empty())
}

fn acme(root: &Node, read: impl FnOnce() -> Outcome) -> Outcome {
    if has_certificate(root) { dropped("`http.tls.certificate` counts") } else { read() }
}

pub(super) fn acme_email(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    acme(root, || {
        if acme_names(root).is_empty() {
            return refused(NO_ACME_HOSTS);
        }
        let contact = format!("mailto:{}", node.text().unwrap_or_default());
        taken(draft.set_texts("tls.acme.contact", &[&contact]))
    })
}

const NO_ACME_HOSTS: &str = "`http.tls.letsencrypt.hosts` is missing, and without HTTPS passwords would cross the \
     network in clear text; name the hosts";

fn acme_names(root: &Node) -> Vec<&str> {
    root.get("http.tls.letsencrypt.hosts").map(Node::texts).unwrap_or_default()
}

pub(super) fn acme_hosts(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    acme(root, || {
        if node.texts().is_empty() {
            return refused(NO_ACME_HOSTS);
        }
        let hosts = match draft.set_texts("tls.acme.hosts", &node.texts()) {
            Ok(hosts) => hosts,
            Err(reason) => return refused(reason),
        };
        let directory = root.get("http.tls.letsencrypt.directoryurl").and_then(Node::text);
        let directory = directory.filter(|url| !url.is_empty()).unwrap_or(LETS_ENCRYPT);
        match draft.set_text("tls.acme.directory", directory) {
            Ok(directory) => Outcome::Taken { settings: vec![hosts, directory] },
            Err(reason) => refused(reason),
        }
    })
}

pub(super) fn acme_directory(_: &mut Draft, root: &Node, _: &Node) -> Outcome {
    acme(root, || {
        if acme_names(root).is_empty() {
            return refused(NO_ACME_HOSTS);
        }
        // `acme_hosts` sets it.
        Outcome::Taken { settings: vec!["tls.acme.directory"] }
    })
}

pub(super) fn metrics_address(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    if root.get("http.debug.prometheus.enabled").and_then(Node::boolean) != Some(true) {
        return dropped("there is no debug server; `/healthz` and `/readyz` are at the registry's address");
    }
    taken(set_text(draft, "metrics.listen", node))
}

pub(super) fn metrics_enabled(_: &mut Draft, root: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(false) => is_default(),
        Ok(true) if root.get("http.debug.addr").is_none() => dropped("`http.debug.addr` is missing"),
        // `metrics_address` sets it.
        Ok(true) if super::draft::is_setting("metrics.listen") => {
            Outcome::Taken { settings: vec!["metrics.listen"] }
        }
        Ok(true) => dropped("this version has no metrics"),
        Err(outcome) => outcome,
    }
}

pub(super) fn metrics_path(_: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text() {
        None | Some("" | "/metrics") => is_default(),
        Some(_) => dropped("the path is /metrics"),
    }
}

/// Response headers. Those of CORS become the list of origins.
pub(super) fn headers(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    let (mut settings, mut others) = (Vec::new(), Vec::new());
    for (name, values) in node.members() {
        let name = name.to_ascii_lowercase();
        if name == "access-control-allow-origin" {
            match draft.set_texts("web.cors_origins", &values.texts()) {
                Ok(setting) => settings.push(setting),
                Err(reason) => return dropped(reason),
            }
        } else if name == "x-content-type-options" {
            continue;
        } else if !name.starts_with("access-control-") {
            others.push(name);
        }
    }
    if others.is_empty() {
        return if settings.is_empty()
            && node.members().iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("access"))
        {
            dropped("without Access-Control-Allow-Origin, no page may use the registry")
        } else if settings.is_empty() {
            dropped("every response has it already")
        } else {
            Outcome::Taken { settings }
        };
    }
    if !settings.is_empty() {
        draft.note(format!(
            "these headers of `http.headers` are not sent: {}; a proxy can add them",
            others.join(", ")
        ));
        return Outcome::Taken { settings };
    }
    dropped(format!("these headers are not sent: {}; a proxy can add them", others.join(", ")))
}

pub(super) fn http2(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(value) => set_switch(draft, "tls.http2", !value),
        Err(outcome) => outcome,
    }
}

pub(super) fn clear_http2(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match boolean(node) {
        Ok(value) => set_switch(draft, "http2_clear", value),
        Err(outcome) => outcome,
    }
}

/// The catalog and tag lists share one limit: the larger one.
pub(super) fn page_entries(draft: &mut Draft, root: &Node, node: &Node) -> Outcome {
    let entries = |path: &str| root.get(path).and_then(Node::text).and_then(|text| text.parse::<u32>().ok());
    let Some(own) = node.text().and_then(|text| text.parse::<u32>().ok()).filter(|entries| *entries > 0)
    else {
        return dropped("distribution takes its default, and so does this registry");
    };
    let largest =
        [entries("catalog.maxentries"), entries("tags.maxtags")].into_iter().flatten().fold(own, u32::max);
    taken(draft.set("limits.page_entries", &RawValue::Integer(largest.into())))
}

pub(super) fn index_platforms(draft: &mut Draft, _: &Node, node: &Node) -> Outcome {
    match node.text().map(str::to_lowercase).as_deref() {
        Some("all") => set_switch(draft, "registry.sparse_indexes", false),
        Some("none" | "list") => set_switch(draft, "registry.sparse_indexes", true),
        _ => dropped("its value is none of all, none and list"),
    }
}

/// Completes what depends on several keys, or on missing ones.
pub(super) fn finish(draft: &mut Draft, root: &Node) {
    let is_cache = pull_through::remote(root).is_some();
    if let Some(driver) = root.get("storage.filesystem").filter(|_| !draft.has("data") && !is_cache) {
        draft.at("storage.filesystem", &driver.place);
        // A path is accepted.
        let _ = draft.set_text("data", IMAGE_DATA);
    }
    let has_storage = root.get("storage").is_some();
    if has_storage && root.get("storage.delete.enabled").is_none() {
        draft.at("storage.delete.enabled is missing", &root.place);
        // Distribution refuses deletions unless they are enabled.
        let _ = draft.set("registry.delete", &RawValue::Boolean(false));
    }
    if let Some(node) = root.get("log.accesslog.disabled").filter(|node| node.boolean() == Some(true)) {
        draft.at("log.accesslog.disabled", &node.place);
        let level = draft.config.log.level.clone();
        // A filter of an accepted level is accepted.
        let _ = draft.set_text("log.level", &format!("{level},wharfinger::http::middleware::access_log=off"));
    }
    if let Some(htpasswd) = root.get("auth.htpasswd").filter(|htpasswd| htpasswd.get("path").is_none()) {
        let outcome = refused("`path` is missing, and without accounts everyone could push");
        draft.find("auth.htpasswd", &htpasswd.place, outcome);
    }
    if !draft.has("data") && !draft.has("blobs.url") {
        draft.note(if is_cache {
            "set `data` to an empty directory"
        } else {
            "set `data`: the file names no directory of images"
        });
    }
}

/// Sets a setting to a duration of Go: `1h30m`, or a number of nanoseconds.
fn set_duration(draft: &mut Draft, setting: &str, node: &Node) -> Result<&'static str, String> {
    let text = node.text().unwrap_or_default();
    let duration = go_duration(text).ok_or_else(|| format!("{text:?} is not a Go duration"))?;
    draft.set_text(setting, &humantime::format_duration(duration).to_string())
}

fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("h", 3600.0),
        ("m", 60.0),
        ("s", 1.0),
    ];
    if let Ok(nanoseconds) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanoseconds));
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        seconds += number * factor;
        rest = &rest[end + unit.len()..];
    }
    // Fractions of a microsecond are rounding errors.
    let rounded = Duration::try_from_secs_f64(seconds).ok()?;
    (!text.is_empty()).then(|| Duration::from_micros(u64::try_from(rounded.as_micros()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_are_read() {
        assert_eq!(go_duration("168h"), Some(Duration::from_secs(168 * 3600)));
        assert_eq!(go_duration("1h30m10.5s"), Some(Duration::from_millis(5_410_500)));
        assert_eq!(go_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(go_duration("60000000000"), Some(Duration::from_secs(60)));
        assert_eq!(go_duration("0"), Some(Duration::ZERO));
        for wrong in ["", "5", "h", "1d", "-1s", "1.2.3s"] {
            assert!(wrong == "5" || go_duration(wrong).is_none(), "{wrong}");
        }
    }
}
