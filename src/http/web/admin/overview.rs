//! `/-/admin`: health, versions and space, and the settings in force.

use accounts::Visible;
use askama::Template;

use super::super::page::Page;
use super::super::{SettingLine, Web};
use super::must_be_administrator;
use crate::http::call::Call;
use crate::http::error::Error;
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
    settings: Vec<SettingLine>,
    /// The certificate: keys of the catalogue with values.
    certificate: Vec<(&'static str, String)>,
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let app = call.app;
    let body = Overview {
        page: Page::of(&call),
        problem: app.registry.ready().await.err().map(|error| error.to_string()),
        schema: registry::SCHEMA_VERSION,
        usage: app.registry.usage(&Visible::Everything).await?,
        users: app.accounts.count_users().await?,
        settings: app.web.as_ref().map(|web| web.settings()).unwrap_or_default(),
        certificate: app.web.as_deref().map(certificate).unwrap_or_default(),
    };
    body.page.render(&body)
}

fn certificate(web: &Web) -> Vec<(&'static str, String)> {
    let Some(certificate) = web.certificate().as_deref().and_then(Certificate::of_file) else {
        return Vec::new();
    };
    let hosts: Vec<String> = certificate.hosts.iter().map(ToString::to_string).collect();
    vec![
        ("certificate-hosts", hosts.join(", ")),
        ("certificate-until", certificate.until()),
        ("certificate-fingerprint", certificate.fingerprint),
    ]
}
