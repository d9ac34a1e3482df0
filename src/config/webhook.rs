//! `[[webhook]]`: receivers of events.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::str::FromStr;

use accounts::Pattern;
use hyper::header::{HeaderName, HeaderValue};
use oci::MediaType;
use registry::events::EventFilter;
use registry::webhooks::WebhookFormat;
use reqwest::Url;

use super::value::{
    RawValue, Refused, TableRules, TomlValue, ValueType, count, list_of, optional_path, switch, table,
};
use crate::webhooks::addresses;

table! {
    /// A receiver of events.
    Webhook, such as r#"{ url = "https://ci.example.com/hook", secret = "whsec_…", events = ["push"] }"# {
        /// The URL, to which each event is sent by POST. Redirects are not followed.
        url: String, text(r#"a URL such as "https://ci.example.com/hook""#);

        /// The secret of the signatures (Standard Webhooks, HMAC-SHA256): `whsec_` and Base64, or any text.
        /// Without one, deliveries are not signed.
        secret: String = String::new(), Secret;

        /// The secret before. It also signs, until the receiver knows the new one.
        previous_secret: String = String::new(), Secret;

        /// The events: `push`, `tag.moved`, `tag.deleted`, `manifest.deleted`, `manifest.restored`,
        /// `repository.deleted`, `blob.pushed`, `blob.deleted`, `pull`, `quota.warning`, `retention.run`,
        /// `gc.run`, `check.finding`, `upstream.state`, `sign-in.failed`; `tag.*` for a group, `*` for all.
        /// Empty: all but pulls and blobs.
        events: Vec<String> = Vec::new(), list_of(text(r#"an event such as "push""#));

        /// The repositories: names or patterns such as `ann/*`. Empty: all, and events of the whole registry.
        repositories: Vec<Pattern> = Vec::new(), list_of(parsed(r#"a name or a pattern such as "ann/*""#));

        /// The media types or artifact types of pushed and pulled manifests. Empty: all. Other events have
        /// none, and are sent.
        media_types: Vec<MediaType> = Vec::new(), list_of(
            parsed(r#"a media type such as "application/vnd.oci.image.index.v1+json""#)
        );

        /// `"cloudevents"`: CloudEvents 1.0 as one JSON document; `"cloudevents-binary"`: with attributes in
        /// headers; `"distribution"`: the notifications of registry:2, which has only pushes, pulls and
        /// deletions.
        format: WebhookFormat = WebhookFormat::CloudEvents, parsed(
            r#""cloudevents", "cloudevents-binary" or "distribution""#
        );

        /// Allow addresses of this machine and of private networks.
        allow_private: bool = false, switch();

        /// Further request headers, such as `["Authorization: Bearer …"]`.
        headers: Vec<String> = Vec::new(), list_of(text(r#"a header such as "X-Token: abc""#));

        /// A PEM file with certificates to trust, in addition to those of the system.
        ca: Option<PathBuf> = None, optional_path();

        /// The number of attempts after which a delivery is parked. The delay doubles from 1 s to 10 minutes.
        attempts: usize = 30, count().at_least(1);

        /// A name for commands. By default it is made from the URL.
        name: String = String::new(), text("a short name");
    }
}

impl Webhook {
    /// The name, or else one made from the URL.
    pub(crate) fn id(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let digest = oci::Algorithm::Sha256.digest(self.url.as_bytes()).hex();
        format!("hook-{}", &digest[..8])
    }

    /// The request headers.
    pub(crate) fn header_pairs(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.headers.iter().filter_map(|line| header(line)).collect()
    }
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

impl TableRules for Webhook {
    const UNIQUE: &'static str = "url";

    fn check(&self) -> Result<(), (&'static str, String)> {
        let url: Url = self.url.parse().map_err(|error| ("url", format!("`url` is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(("url", "`url` begins with http:// or https://".to_owned()));
        }
        if !self.allow_private
            && let Some(reason) = addresses::refused_host(&url)
        {
            return Err(("url", format!("{reason}; if the receiver is yours, set `allow_private = true`")));
        }
        if let Err(unknown) = EventFilter::new(self.events.clone()) {
            return Err(("events", format!("there is no event `{unknown}`")));
        }
        if let Some(wrong) = self.headers.iter().find(|line| header(line).is_none()) {
            let name = wrong.split(':').next().unwrap_or_default();
            return Err(("headers", format!("`{name}…` is not a header; write `Name: value`")));
        }
        let fits = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        if !self.name.chars().all(fits) || self.name.starts_with(|char: char| char.is_ascii_digit()) {
            return Err((
                "name",
                "`name` has ASCII letters, digits, . _ and -, and begins with no digit".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Any text.
fn text(expects: &'static str) -> Text {
    Text(expects)
}

struct Text(&'static str);

impl ValueType<String> for Text {
    fn read(&self, raw: &RawValue) -> Result<String, Refused> {
        let text = raw.text().filter(|text| !text.chars().any(char::is_control));
        text.map(str::to_owned).ok_or_else(Refused::default)
    }

    fn write(&self, value: &String) -> TomlValue {
        TomlValue::String(value.clone())
    }

    fn expects(&self) -> String {
        self.0.to_owned()
    }
}

/// A secret. It is never shown; a short checksum shows that it has changed.
struct Secret;

fn not_shown(secret: &str) -> String {
    let mut hasher = DefaultHasher::new();
    secret.hash(&mut hasher);
    format!("(not shown, {:04x})", hasher.finish() & 0xffff)
}

impl ValueType<String> for Secret {
    fn read(&self, raw: &RawValue) -> Result<String, Refused> {
        Text("").read(raw)
    }

    fn write(&self, value: &String) -> TomlValue {
        TomlValue::String(not_shown(value))
    }

    fn expects(&self) -> String {
        "a secret of any characters".to_owned()
    }
}

/// Returns a URL without its secrets: `…` stands for user, password, path and query. Chat services have the
/// token in the path.
pub(crate) fn shown_url(url: &str) -> String {
    let (url, has_query) = match url.find(['?', '#']) {
        Some(end) => (&url[..end], true),
        None => (url, false),
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let user = if host.len() < authority.len() { "…@" } else { "" };
    let separator = if scheme.is_empty() { "" } else { "://" };
    let path = if path.len() > 1 || has_query { "/…" } else { path };
    format!("{scheme}{separator}{user}{host}{path}")
}

/// Returns written webhooks without the secrets in URLs and headers, for lists of the settings in force.
pub(super) fn without_secrets(webhooks: TomlValue) -> TomlValue {
    match webhooks {
        TomlValue::List(tables) => TomlValue::List(tables.into_iter().map(without_secrets).collect()),
        TomlValue::Table(members) => {
            TomlValue::Table(members.into_iter().map(|(key, value)| (key, hidden(key, value))).collect())
        }
        value => value,
    }
}

fn hidden(key: &str, value: TomlValue) -> TomlValue {
    match (key, value) {
        ("url", TomlValue::String(url)) => TomlValue::String(shown_url(&url)),
        ("headers", TomlValue::List(lines)) => {
            TomlValue::List(lines.into_iter().map(|line| hidden("header", line)).collect())
        }
        ("header", TomlValue::String(line)) => {
            let (name, value) = line.split_once(':').unwrap_or(("", &line));
            TomlValue::String(format!("{name}: {}", not_shown(value)))
        }
        (_, value) => value,
    }
}

/// A value that is parsed from a text.
fn parsed(expects: &'static str) -> Parsed {
    Parsed(expects)
}

struct Parsed(&'static str);

impl<T: FromStr + ToString> ValueType<T> for Parsed {
    fn read(&self, raw: &RawValue) -> Result<T, Refused> {
        raw.text().and_then(|text| text.parse().ok()).ok_or_else(Refused::default)
    }

    fn write(&self, value: &T) -> TomlValue {
        TomlValue::String(value.to_string())
    }

    fn expects(&self) -> String {
        self.0.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_url_has_no_secrets() {
        for (url, shown) in [
            ("https://ci.example.com", "https://ci.example.com"),
            ("https://ci.example.com/", "https://ci.example.com/"),
            ("https://hooks.example.com/services/T0/SECRET", "https://hooks.example.com/…"),
            ("https://u:p@ci.example.com/hook?token=S", "https://…@ci.example.com/…"),
            ("http://u@[::1]:80", "http://…@[::1]:80"),
            ("https://a?token=S", "https://a/…"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }

    #[test]
    fn settings_in_force_show_no_secrets() {
        let text = |text: &str| TomlValue::String(text.to_owned());
        let webhook = TomlValue::Table(vec![
            ("url", text("https://u5er:hookpass@ci.example.com/hook?token=QUERYSECRET")),
            ("headers", TomlValue::List(vec![text("Authorization: Bearer HEADERSECRET")])),
            ("name", text("ci")),
        ]);
        let shown = without_secrets(TomlValue::List(vec![webhook])).to_string();
        for secret in ["u5er", "hookpass", "QUERYSECRET", "HEADERSECRET"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("ci.example.com/…") && shown.contains("Authorization: "), "{shown}");
    }
}
