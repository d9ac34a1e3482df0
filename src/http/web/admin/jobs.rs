//! `/-/admin/jobs`: garbage collection with a preview, the space that waits for it, what keeps some content,
//! and the background jobs with their progress.

use api::{Explanation, GarbagePreview, GarbageStatus, Job};
use askama::Template;
use hyper::Method;
use oci::{Digest, RepositoryName};

use super::super::form::Form;
use super::super::manage::Outcome;
use super::super::page::Page;
use super::must_be_administrator;
use crate::http::api::manage::{gc, jobs};
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The removals that are counted for the page. The API and the command count more of them.
const COUNTED: usize = 500;
/// The removals of a preview on the page.
const LISTED: usize = 200;

#[derive(Template)]
#[template(path = "admin/jobs.html")]
struct JobsPage {
    page: Page,
    outcome: Outcome,
    /// A gateway has no content to collect.
    garbage: Option<GarbageStatus>,
    preview: Option<GarbagePreview>,
    digest: String,
    explanation: Option<Explanation>,
    jobs: Vec<Job>,
}

impl JobsPage {
    /// Whether the page changes by itself.
    fn is_live(&self) -> bool {
        self.garbage.as_ref().is_some_and(|garbage| garbage.running.is_some())
            || self.jobs.iter().any(|job| job.running > 0)
    }

    fn listed(&self) -> usize {
        LISTED
    }
}

pub(crate) async fn answer(mut call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let has_content = call.app.content_proxy.is_none();
    let (mut preview, mut outcome) = (None, Outcome::default());
    if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        match &*form.text("action") {
            "run" if form.text("confirmation") != "gc" => {
                outcome = Outcome::problem(Page::of(&call).t("delete-mismatch"));
            }
            "run" => {
                gc::start(&call)?;
                let response = Page::of(&call).redirect("/-/admin/jobs?done=gc-started");
                return Ok(AuditedChange::of_server("gc.run").on(response));
            }
            "preview" => preview = Some(gc::preview(&call).await?),
            _ => return Err(Error::NoForm),
        }
    }
    let page = Page::of(&call);
    let query = call.query();
    let digest = query.get_filled("digest").map(|text| text.trim().to_owned()).unwrap_or_default();
    let mut explanation = None;
    if !digest.is_empty() {
        match digest.parse::<Digest>() {
            Ok(wanted) => match gc::look_for(&call, &wanted, None::<&RepositoryName>).await {
                Ok(found) => explanation = Some(found),
                Err(Error::Registry(error)) if error.is_unknown() => {
                    outcome = Outcome::problem(page.t("explain-nothing"));
                }
                Err(error) => return Err(error),
            },
            Err(_) => outcome = Outcome::problem(page.t("problem-digest")),
        }
    }
    let garbage = if has_content { Some(gc::look(&call, COUNTED).await?) } else { None };
    let body = JobsPage { page, outcome, garbage, preview, digest, explanation, jobs: jobs::all(&call) };
    body.page.render_as(body.outcome.status(), &body)
}
