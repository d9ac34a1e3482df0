//! `/-/grants`: who may do what with which repositories. Administrators see all grants, and owners those on
//! their own repositories.

use accounts::{AccountName, Pattern, Right, Rights, Role, Subject};
use askama::Template;
use hyper::Method;
use oci::RepositoryName;
use registry::access::manage::Grants;
use registry::records::GrantRecord;

use super::form::Form;
use super::manage::{Outcome, run};
use super::page::Page;
use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

/// The grants on a page.
const PAGE: usize = 200;

#[derive(Template)]
#[template(path = "grants.html")]
struct GrantsPage {
    page: Page,
    outcome: Outcome,
    grants: Vec<GrantRecord>,
    /// The filters. A form keeps them.
    subject: String,
    repository: String,
    owner: String,
    /// The names below which the caller owns everything. Empty for administrators, who see all grants.
    owners: Vec<String>,
    next: Option<i64>,
}

impl GrantsPage {
    /// Returns the address with the filters.
    fn address(&self, after: Option<&i64>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let filters = [("subject", &self.subject), ("repository", &self.repository), ("owner", &self.owner)];
        query.extend_pairs(filters.into_iter().filter(|(_, value)| !value.is_empty()));
        query.extend_pairs(after.map(|after| ("after", after.to_string())));
        let query = query.finish();
        if query.is_empty() { "/-/grants".to_owned() } else { format!("/-/grants?{query}") }
    }
}

pub(crate) async fn answer(mut call: Call<'_>) -> Result<Response, Error> {
    let outcome = if call.request.method == Method::POST {
        let form = Form::read(&mut call).await?;
        act(&call, &form).await?
    } else {
        Outcome::default()
    };
    let page = Page::of(&call);
    let query = call.query();
    let subject = query.parsed::<Subject>("subject", "a user, a robot or a team")?;
    let repository = query.parsed::<RepositoryName>("repository", "the name of a repository")?;
    let owner = query.parsed::<AccountName>("owner", "the name of a user or an organisation")?;
    let which = match (&subject, &repository, &owner) {
        (_, Some(repository), _) => Grants::On(repository.clone()),
        (Some(subject), None, _) => Grants::To(subject.clone()),
        (None, None, Some(owner)) => Grants::Below(owner.clone()),
        (None, None, None) => Grants::All,
    };
    let after = query.parsed::<i64>("after", "the id of a grant")?;
    let mut grants = map_error(&call, manage(&call).grants(which, after, PAGE + 1).await)?;
    let more = grants.len() > PAGE;
    grants.truncate(PAGE);
    let owners = if page.viewer.administrator { Vec::new() } else { owners(&call).await? };
    let own = owners.first().filter(|_| subject.is_none() && repository.is_none()).cloned();
    let body = GrantsPage {
        page,
        next: grants.last().filter(|_| more).map(|grant| grant.id),
        grants,
        subject: subject.map(|subject| subject.to_string()).unwrap_or_default(),
        repository: repository.map(|repository| repository.to_string()).unwrap_or_default(),
        owner: owner.map(|owner| owner.to_string()).or(own).unwrap_or_default(),
        owners,
        outcome,
    };
    body.page.render_as(body.outcome.status(), &body)
}

/// Returns the caller's name, and the organisations that the caller owns.
async fn owners(call: &Call<'_>) -> Result<Vec<String>, Error> {
    let Some(name) = call.caller.identity().name().cloned() else { return Ok(Vec::new()) };
    let members = map_error(call, manage(call).memberships(&name).await)?;
    let organisations = members.into_iter().filter(|member| member.role == Role::Owner);
    let organisations = organisations.map(|member| member.organisation.to_string());
    Ok(std::iter::once(name.to_string()).chain(organisations).collect())
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
