//! `/-/admin/upstreams`: cached registries with their state and hit rate, tests and purges.

use accounts::Pattern;
use api::{Upstream, UpstreamState, UpstreamTest};
use askama::Template;
use hyper::Method;

use super::super::form::Form;
use super::super::manage::Outcome;
use super::super::page::Page;
use super::must_be_administrator;
use crate::config::UpstreamName;
use crate::http::api::manage::upstreams;
use crate::http::audited_change::AuditedChange;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

#[derive(Template)]
#[template(path = "admin/upstreams.html")]
struct UpstreamsPage {
    page: Page,
    outcome: Outcome,
    upstreams: Vec<Upstream>,
    test: Option<UpstreamTest>,
}

/// Returns the key of the name of a state.
fn state(state: &UpstreamState) -> &'static str {
    match state {
        UpstreamState::Ok => "upstream-ok",
        UpstreamState::Limited => "upstream-limited",
        UpstreamState::Down => "upstream-down",
    }
}

/// Returns the part of the answers that came from the cache, in percent.
fn hit_rate(upstream: &Upstream) -> Option<u64> {
    let hits = upstream.hits + upstream.stale;
    (hits * 100).checked_div(hits + upstream.misses)
}

pub(crate) async fn answer(mut call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let (mut outcome, mut test, mut audited) = (Outcome::default(), None, None);
    if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        let page = Page::of(&call);
        let named = form.text("name").parse::<UpstreamName>();
        let pattern = form.text("repositories");
        let pattern = if pattern.is_empty() { None } else { Some(pattern.parse::<Pattern>()) };
        match (&*form.text("action"), named, pattern.transpose()) {
            ("test", Ok(name), _) => test = Some(upstreams::probe(&call, &name).await?),
            ("purge", Ok(name), _) if form.text("confirmation") != name.as_str() => {
                outcome = Outcome::problem(page.t("delete-mismatch"));
            }
            ("purge", Ok(_), Err(_)) => outcome = Outcome::problem(page.t("problem-pattern")),
            ("purge", Ok(name), Ok(pattern)) => {
                let purged = upstreams::empty(&call, &name, pattern).await?;
                audited = Some(AuditedChange::new("upstream.purge", name.to_string()));
                let done = page.counted("upstream-purged", purged.repositories.len() as u64);
                outcome = Outcome { done: Some(done), ..Outcome::default() };
            }
            _ => return Err(Error::NoForm),
        }
    }
    let body =
        UpstreamsPage { page: Page::of(&call), outcome, upstreams: upstreams::all(&call).await?, test };
    let response = body.page.render_as(body.outcome.status(), &body)?;
    Ok(match audited {
        Some(audited) => audited.on(response),
        None => response,
    })
}
