//! `/-/admin/rules`: quotas with their use, and the retention rules' deletions before they happen.

use accounts::Visible;
use askama::Template;
use hyper::Method;
use registry::RetentionReport;
use registry::records::{QuotaUsage, StoreError};

use super::super::form::Form;
use super::super::manage::Outcome;
use super::super::page::Page;
use super::must_be_administrator;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

#[derive(Template)]
#[template(path = "admin/rules.html")]
struct Rules {
    page: Page,
    outcome: Outcome,
    quotas: Vec<QuotaUsage>,
    /// The deletions of a run, or of a preview.
    report: Option<RetentionReport>,
}

pub(crate) async fn answer(mut call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let quotas = call.app.registry.quotas(&Visible::Everything).await?;
    let mut outcome = Outcome::default();
    let mut report = None;
    if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        let page = Page::of(&call);
        let is_preview = form.text("action") != "run";
        if !is_preview && form.text("confirmation") != "retention" {
            outcome = Outcome::problem(page.t("delete-mismatch"));
        } else {
            let registry = call.registry();
            // A browser that is closed does not end a run half-way.
            let run = tokio::spawn(async move { registry.run_retention(None, is_preview).await }).await;
            report = Some(run.unwrap_or(Err(registry::Error::Store(StoreError::Closed)))?);
        }
    }
    let body = Rules { page: Page::of(&call), outcome, quotas, report };
    body.page.render(&body)
}
