//! `/-/admin`: health, versions and space, and the settings in force.

use askama::Template;
use registry::records::{Space, Usage};

use super::super::page::Page;
use super::must_be_administrator;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::health::{self, Degraded};
use crate::http::in_force::SettingLine;
use crate::http::response::Response;
use crate::tls::certificate::Certificate;

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct Overview {
    page: Page,
    /// Why the registry is not ready.
    problem: Option<String>,
    /// The state of the registry behind a gateway: why it does not answer.
    upstream: Option<Result<(), String>>,
    faults: Vec<Degraded>,
    /// The disk of the data directory.
    disk: Option<Space>,
    schema: u32,
    usage: Usage,
    users: u64,
    /// The settings that differ from their default.
    settings: Vec<SettingLine>,
    defaults: Vec<SettingLine>,
    /// The certificate: keys of the catalogue with values.
    certificate: Vec<(&'static str, String)>,
}

impl Overview {
    fn is_healthy(&self) -> bool {
        self.problem.is_none() && self.faults.is_empty() && !matches!(self.upstream, Some(Err(_)))
    }

    fn explain(&self, fault: &Degraded) -> String {
        let page = &self.page;
        match fault {
            Degraded::NoPrimary => page.t("health-no-primary").into_owned(),
            Degraded::DiskFull => page.t("health-disk-full").into_owned(),
            Degraded::ReserveReached { free, reserve } => {
                let (free, reserve) = (page.size(free), page.size(reserve));
                page.language.text_with("health-reserve", &[("free", &free), ("reserve", &reserve)])
            }
            Degraded::DiskReadOnly => page.t("health-disk-read-only").into_owned(),
            Degraded::BlockedLinks(count) => page.counted("health-links", count),
            Degraded::BlockedFiles(count) => page.counted("health-files", count),
        }
    }

    fn free(&self, disk: &Space) -> String {
        let (free, total) = (self.page.size(&disk.free), self.page.size(&disk.total));
        self.page.language.text_with("space-disk-free", &[("free", &free), ("total", &total)])
    }
}

/// Asks the registry behind a gateway.
async fn upstream(app: &App) -> Option<Result<(), String>> {
    let answer = app.content_proxy.as_ref()?.ready().await;
    Some(answer.map_err(|error| match error {
        // Administrators may read the cause.
        Error::Gateway(error) => error.reason(),
        error => error.to_string(),
    }))
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let app = call.app;
    let (defaults, settings) = app.in_force.settings().into_iter().partition(|setting| setting.is_default);
    let body = Overview {
        page: Page::of(&call),
        problem: app.registry.ready().await.err().map(|error| error.to_string()),
        upstream: upstream(app).await,
        faults: health::faults(app),
        disk: app.registry.disk_space(),
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
