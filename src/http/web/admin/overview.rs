//! `/-/admin`: health, versions and space, and the settings in force.

use askama::Template;

use super::super::page::Page;
use super::must_be_administrator;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::in_force::SettingLine;
use crate::http::response::Response;
use crate::tls::certificate::Certificate;

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct Overview {
    page: Page,
    /// Why the registry is not ready.
    problem: Option<String>,
    schema: u32,
    usage: registry::records::Usage,
    users: u64,
    /// The settings that differ from their default.
    settings: Vec<SettingLine>,
    defaults: Vec<SettingLine>,
    /// The certificate: keys of the catalogue with values.
    certificate: Vec<(&'static str, String)>,
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let app = call.app;
    let (defaults, settings) = app.in_force.settings().into_iter().partition(|setting| setting.is_default);
    let body = Overview {
        page: Page::of(&call),
        problem: app.registry.ready().await.err().map(|error| error.to_string()),
        schema: registry::SCHEMA_VERSION,
        usage: app.registry.counted_usage().await?,
        users: app.accounts.count_users().await?,
        settings,
        defaults,
        certificate: app.in_force.certificate().map(certificate).unwrap_or_default(),
    };
    body.page.render(&body)
}

fn certificate(certificate: Certificate) -> Vec<(&'static str, String)> {
    let hosts: Vec<String> = certificate.hosts.iter().map(ToString::to_string).collect();
    vec![
        ("certificate-hosts", hosts.join(", ")),
        ("certificate-until", certificate.until()),
        ("certificate-fingerprint", certificate.fingerprint),
    ]
}
