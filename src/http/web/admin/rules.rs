//! `/-/admin/rules`: immutable and protected tags with a preview, quotas with their use, and the retention
//! rules with their deletions before they happen.

use accounts::Visible;
use api::RetentionRule;
use askama::Template;
use hyper::Method;
use registry::RetentionReport;
use registry::records::{QuotaUsage, StoreError};
use registry::rules::{RepositorySelector, TagSelector};

use super::super::form::Form;
use super::super::manage::Outcome;
use super::super::page::Page;
use super::must_be_administrator;
use crate::http::api::manage::rules;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

#[derive(Template)]
#[template(path = "admin/rules.html")]
struct Rules {
    page: Page,
    outcome: Outcome,
    tag_rules: api::Rules,
    /// The selectors of the preview.
    repositories: String,
    tags: String,
    quotas: Vec<QuotaUsage>,
    /// The deletions of a run, or of a preview.
    report: Option<RetentionReport>,
}

impl Rules {
    /// Returns what a retention rule keeps.
    fn kept(&self, rule: &RetentionRule) -> String {
        let page = &self.page;
        let mut kept = Vec::new();
        if let Some(newest) = rule.keep_newest {
            let key = if rule.by == "version" { "retention-newest-version" } else { "retention-newest" };
            kept.push(page.counted(key, newest));
        }
        let spans =
            [("retention-pushed", rule.keep_pushed_within), ("retention-pulled", rule.keep_pulled_within)];
        kept.extend(spans.into_iter().filter_map(|(key, span)| Some(page.with(key, page.duration(&span?)))));
        kept.extend((!rule.keep.is_empty()).then(|| rule.keep.join(", ")));
        kept.join(" · ")
    }

    /// Returns the number of tags of the preview.
    fn selected(&self) -> u64 {
        self.tag_rules.preview.as_ref().map_or(0, |preview| preview.tags.len() as u64)
    }
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
    let query = call.query();
    let text = |name: &str| query.get_filled(name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (repositories, tags) = (text("repositories"), text("tags"));
    let page = Page::of(&call);
    let mut tag_rules = rules::in_force(&call).await?;
    if !repositories.is_empty() && !tags.is_empty() {
        match (repositories.parse::<RepositorySelector>(), tags.parse::<TagSelector>()) {
            (Ok(repositories), Ok(tags)) => {
                tag_rules.preview = Some(rules::preview(&call, repositories, tags).await?);
            }
            _ => outcome = Outcome::problem(page.t("problem-pattern")),
        }
    }
    let body = Rules { page, outcome, tag_rules, repositories, tags, quotas, report };
    body.page.render_as(body.outcome.status(), &body)
}
