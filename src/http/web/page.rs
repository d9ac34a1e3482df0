//! The frame of all pages: language, account, form token, and the headers of the response.
//!
//! The Content-Security-Policy (CSP level 3) allows the registry's own style sheet, script and images only,
//! nothing inline, and no frame around a page. Text of pushers is escaped by the templates.

use std::time::SystemTime;

use accounts::{Right, Rights, Role};
use askama::Template;
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, LOCATION, SET_COOKIE, VARY,
};
use registry::access::Identity;

use super::form::{self, Token};
use super::language::{Language, number};
use super::{assets, form::seed};
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::request::Request;
use crate::http::middleware::client_info::ClientInfo;
use crate::http::response::{self, Response};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The caller, as pages show it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Viewer {
    pub(crate) account: Option<String>,
    /// Whether the caller may administer the registry.
    pub(crate) administrator: bool,
    /// Whether the caller has a session, which a sign-out ends.
    pub(crate) has_session: bool,
    /// Whether the registry has accounts. Without them, every caller has all rights.
    pub(crate) in_force: bool,
}

impl Viewer {
    fn of(app: &App, identity: &Identity) -> Self {
        let account = identity.account();
        Self {
            account: account.map(|account| account.name.to_string()),
            administrator: match identity {
                Identity::Operator => true,
                Identity::Account(account) => account.administrator && account.scope.is_none(),
                Identity::Anonymous => false,
            },
            has_session: account.is_some_and(|account| account.via == registry::access::Via::Session),
            in_force: app.accounts.in_force(),
        }
    }
}

/// The values that all pages share.
pub(crate) struct Page {
    pub(crate) language: Language,
    /// The path prefix of links.
    pub(crate) base: String,
    /// The host, port and path of the registry, as in image names.
    pub(crate) host: String,
    pub(crate) viewer: Viewer,
    /// Path and query of the page, without the prefix.
    pub(crate) here: String,
    /// The text in the search field.
    pub(crate) search: String,
    /// The result of the form that led here.
    pub(crate) done: Option<String>,
    /// A fault that the form met, although its change is made.
    pub(crate) fault: Option<String>,
    token: Token,
}

impl Page {
    pub(crate) fn of(call: &Call<'_>) -> Self {
        let viewer = Viewer::of(call.app, call.caller.identity());
        let links = call.caller.links().absolute("");
        Self::for_client(&call.request, call.caller.client(), call.base(), links, viewer)
    }

    /// Returns the frame of a page for a request that has no caller.
    pub(super) fn for_client(
        request: &Request,
        client: &ClientInfo,
        url: Option<String>,
        links: String,
        viewer: Viewer,
    ) -> Self {
        let query = request.query();
        let language = Language::of(&request.headers);
        // Texts of the catalogue alone, because a link may have any query.
        let outcome = |kind: &str| {
            let key = format!("{kind}-{}", query.get_filled(kind)?);
            language.has(&key).then(|| language.text(&key).into_owned())
        };
        Self {
            language,
            base: path_of(&links).to_owned(),
            host: url
                .as_deref()
                .and_then(|url| url.split_once("://"))
                .map_or("localhost:5000", |(_, host)| host)
                .to_owned(),
            viewer,
            here: request.uri.path_and_query().map_or("/", |here| here.as_str()).to_owned(),
            search: query.get("q").unwrap_or_default().into_owned(),
            done: outcome("done"),
            fault: outcome("fault"),
            token: seed(&request.headers, client),
        }
    }

    pub(crate) fn set_viewer(&mut self, app: &App, identity: &Identity) {
        self.viewer = Viewer::of(app, identity);
    }

    /// Returns a text.
    pub(crate) fn t(&self, key: &str) -> std::borrow::Cow<'static, str> {
        self.language.text(key)
    }

    /// Returns a text with a value, `$value`.
    pub(crate) fn with(&self, key: &str, value: impl std::fmt::Display) -> String {
        self.language.text_with(key, &[("value", &value.to_string())])
    }

    /// Returns a text about a number.
    pub(crate) fn counted(&self, key: &str, count: impl std::borrow::Borrow<u64>) -> String {
        self.language.counted(key, *count.borrow())
    }

    /// Returns the names of rights.
    pub(crate) fn rights(&self, rights: &Rights) -> Vec<std::borrow::Cow<'static, str>> {
        let name = |right| match right {
            Right::Pull => self.t("right-pull"),
            Right::Push => self.t("right-push"),
            Right::Delete => self.t("right-delete"),
            Right::Administer => self.t("right-administer"),
            Right::Fill => self.t("right-fill"),
        };
        rights.iter().map(name).collect()
    }

    /// Returns the name of a role.
    pub(crate) fn role(&self, role: &Role) -> std::borrow::Cow<'static, str> {
        self.t(match role {
            Role::Reader => "role-reader",
            Role::Writer => "role-writer",
            Role::Maintainer => "role-maintainer",
            Role::Owner => "role-owner",
        })
    }

    pub(crate) fn number(&self, count: &u64) -> String {
        number(*count)
    }

    pub(crate) fn size(&self, bytes: &u64) -> String {
        self.language.size(*bytes)
    }

    pub(crate) fn date(&self, time: &SystemTime) -> String {
        self.language.date(*time)
    }

    pub(crate) fn age(&self, time: &SystemTime) -> String {
        self.language.age(*time)
    }

    /// Formats a time that a pusher wrote, or returns it as it is. A client that knows no time writes Go's
    /// zero time.
    pub(crate) fn date_of(&self, text: &str) -> String {
        if oci::image_config::is_zero_time(text) {
            return self.t("created-unknown").into_owned();
        }
        humantime::parse_rfc3339_weak(text).map_or_else(|_| text.to_owned(), |time| self.language.date(time))
    }

    /// Returns a time for programs.
    pub(crate) fn iso(&self, time: &SystemTime) -> String {
        crate::rfc3339::seconds(*time)
    }

    /// As [`Page::iso`], of seconds since 1970.
    pub(crate) fn iso_at(&self, seconds: &u64) -> String {
        self.iso(&at(*seconds))
    }

    /// As [`Page::date`], of seconds since 1970.
    pub(crate) fn date_at(&self, seconds: &u64) -> String {
        self.date(&at(*seconds))
    }

    /// As [`Page::age`], of seconds since 1970.
    pub(crate) fn age_at(&self, seconds: &u64) -> String {
        self.age(&at(*seconds))
    }

    /// Formats a number of seconds as a duration: `3 days`.
    pub(crate) fn duration(&self, seconds: &u64) -> String {
        self.language.duration(*seconds)
    }

    /// Returns the key of the name of a kind of job.
    pub(crate) fn job_key(&self, kind: &str) -> String {
        format!("job-{kind}")
    }

    /// Returns the translation key of a kind of removed item.
    pub(crate) fn removal_key(&self, kind: &str) -> String {
        format!("removal-{kind}")
    }

    /// Returns the key of the reason of a removal.
    pub(crate) fn cause_key(&self, cause: &str) -> String {
        format!("cause-{cause}")
    }

    /// Returns the key of the name of a link of a chain that keeps content.
    pub(crate) fn link_key(&self, kind: &str) -> String {
        format!("link-{kind}")
    }

    /// Returns the scope of a quota in the language of the page: `owner ann`, `repositories team/**`.
    pub(crate) fn quota_scope(&self, scope: &str) -> String {
        match scope.split_once(' ') {
            Some((kind @ ("owner" | "repositories" | "repository"), name)) => {
                self.with(&format!("quota-of-{kind}"), name)
            }
            _ => scope.to_owned(),
        }
    }

    /// Returns the key of the name of an event.
    pub(crate) fn event_key(&self, kind: &str) -> String {
        format!("event-{}", kind.replace('.', "-"))
    }

    /// Returns the key of the name of an outcome in the audit log.
    pub(crate) fn verdict_key(&self, verdict: &str) -> String {
        format!("verdict-{verdict}")
    }

    /// Returns the key of the name of a webhook's format.
    pub(crate) fn format_key(&self, format: &str) -> String {
        format!("webhook-format-{format}")
    }

    /// Returns the key of the name of the state of a delivery.
    pub(crate) fn delivery_key(&self, state: &str) -> String {
        format!("delivery-{state}")
    }

    /// Returns the pages of an account, with the keys of their names.
    pub(crate) fn own_pages(&self) -> [(&'static str, &'static str); 5] {
        [
            ("/-/account", "nav-account"),
            ("/-/organisations", "organisations-title"),
            ("/-/grants", "grants-title"),
            ("/-/webhooks", "webhooks-title"),
            ("/-/access", "access-nav"),
        ]
    }

    /// Returns the pages of administrators, with the keys of their names.
    pub(crate) fn admin_pages(&self) -> [(&'static str, &'static str); 10] {
        [
            ("/-/admin", "admin-overview"),
            ("/-/admin/accounts", "accounts-title"),
            ("/-/organisations", "organisations-title"),
            ("/-/grants", "grants-title"),
            ("/-/admin/usage", "space-title"),
            ("/-/admin/rules", "rules-title"),
            ("/-/admin/jobs", "jobs-nav"),
            ("/-/admin/upstreams", "upstreams-title"),
            ("/-/webhooks", "webhooks-title"),
            ("/-/admin/audit", "audit-title"),
        ]
    }

    /// Whether this is the page with the path.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.here.split('?').next() == Some(path)
    }

    pub(crate) fn own_account(&self) -> &'static str {
        "/-/account"
    }

    pub(crate) fn of_account(&self, name: impl std::fmt::Display) -> String {
        format!("/-/admin/accounts/{name}")
    }

    pub(crate) fn of_organisation(&self, name: impl std::fmt::Display) -> String {
        format!("/-/organisations/{name}")
    }

    pub(crate) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Returns a command with the host of the registry.
    pub(crate) fn command(&self, command: &str) -> String {
        format!("{command} {}", self.host)
    }

    /// Returns a namespace that the caller may push to.
    pub(crate) fn example_namespace(&self) -> &str {
        self.viewer.account.as_deref().unwrap_or("team")
    }

    pub(crate) fn asset(&self, stem: &str) -> String {
        format!("{}/-/assets/{}", self.base, assets::name(stem))
    }

    /// Returns the value of the hidden field of each form.
    pub(crate) fn form_token(&self) -> String {
        self.token.value()
    }

    /// Returns the other languages, for the switch.
    pub(crate) fn other_languages(&self) -> Vec<Language> {
        Language::ALL.into_iter().filter(|language| *language != self.language).collect()
    }

    /// Renders a page.
    pub(crate) fn render(&self, template: &impl Template) -> Result<Response, Error> {
        self.render_as(StatusCode::OK, template)
    }

    /// Renders a page with another status.
    pub(crate) fn render_as(&self, status: StatusCode, template: &impl Template) -> Result<Response, Error> {
        let html = template.render().map_err(Error::Template)?;
        let mut response = response::content(HTML, html);
        *response.status_mut() = status;
        self.add_headers(&mut response);
        Ok(response)
    }

    /// Redirects to a path of this registry, after a form.
    pub(crate) fn redirect(&self, path: &str) -> Response {
        let mut response = response::status(StatusCode::SEE_OTHER);
        if let Ok(location) = HeaderValue::try_from(format!("{}{}", self.base, form::encode_path(path))) {
            response.headers_mut().insert(LOCATION, location);
        }
        self.add_headers(&mut response);
        response
    }

    fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Language, Cookie"));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if let Some(cookie) = self.token.new_cookie() {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

/// Returns the path of a link prefix, which may be a whole URL.
pub(super) fn path_of(links: &str) -> &str {
    match links.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => links,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_on_the_host() {
        assert_eq!(path_of(""), "");
        assert_eq!(path_of("/hub"), "/hub");
        assert_eq!(path_of("https://registry.example.com"), "");
        assert_eq!(path_of("https://registry.example.com/hub"), "/hub");
    }
}
