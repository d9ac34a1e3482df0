//! `/-/admin/grants`: who may do what with which repositories.

use accounts::{Pattern, Right, Rights, Subject};
use askama::Template;
use hyper::Method;
use oci::RepositoryName;
use registry::access::manage::Grants;
use registry::records::GrantRecord;

use super::super::form::Form;
use super::super::manage::{Outcome, run};
use super::super::page::Page;
use super::must_be_administrator;
use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The grants on a page.
const PAGE: usize = 200;

#[derive(Template)]
#[template(path = "admin/grants.html")]
struct GrantsPage {
    page: Page,
    outcome: Outcome,
    grants: Vec<GrantRecord>,
    subject: String,
    repository: String,
    next: Option<i64>,
}

pub(crate) async fn answer(mut call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let outcome = if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        act(&call, &form).await?
    } else {
        Outcome::default()
    };
    let query = call.query();
    let subject = query.parsed::<Subject>("subject", "a user, a robot or a team")?;
    let repository = query.parsed::<RepositoryName>("repository", "the name of a repository")?;
    let which = match (&subject, &repository) {
        (_, Some(repository)) => Grants::On(repository.clone()),
        (Some(subject), None) => Grants::To(subject.clone()),
        (None, None) => Grants::All,
    };
    let after = query.parsed::<i64>("after", "the id of a grant")?;
    let mut grants = map_error(&call, manage(&call).grants(which, after, PAGE + 1).await)?;
    let more = grants.len() > PAGE;
    grants.truncate(PAGE);
    let body = GrantsPage {
        page: Page::of(&call),
        next: grants.last().filter(|_| more).map(|grant| grant.id),
        grants,
        subject: subject.map(|subject| subject.to_string()).unwrap_or_default(),
        repository: repository.map(|repository| repository.to_string()).unwrap_or_default(),
        outcome,
    };
    body.page.render_as(body.outcome.status(), &body)
}

async fn act(call: &Call<'_>, form: &Form) -> Result<Outcome, Error> {
    let page = Page::of(call);
    let Ok(subject) = form.text("subject").parse::<Subject>() else {
        return Ok(Outcome::problem(page.t("problem-unknown")));
    };
    let Ok(pattern) = form.text("repositories").parse::<Pattern>() else {
        return Ok(Outcome::problem(page.t("problem-pattern")));
    };
    match &*form.text("action") {
        "set" => {
            let rights = form.all("rights");
            let rights = Rights::of(rights.iter().filter_map(|right| right.parse::<Right>().ok()));
            let set = run(call, |manage| async move { manage.set_grant(&subject, &pattern, rights).await });
            Outcome::of(&page, set.await, "grant-set")
        }
        "remove" => {
            let removed = run(call, |manage| async move { manage.remove_grant(&subject, &pattern).await });
            Outcome::of(&page, removed.await, "grant-removed")
        }
        _ => Err(Error::NoForm),
    }
}
