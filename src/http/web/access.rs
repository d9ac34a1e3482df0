//! `/-/access`: the rights of an account on a repository, and the reasons.

use accounts::{AccountName, Rights, Subject};
use askama::Template;
use oci::RepositoryName;
use registry::access::manage::Reason;

use super::page::Page;
use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    page: Page,
    account: String,
    repository: String,
    rights: Option<Rights>,
    reasons: Vec<String>,
}

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let query = call.query();
    let repository = query.parsed::<RepositoryName>("repository", "the name of a repository")?;
    let account = match query.get("account") {
        None => call.caller.identity().name().cloned(),
        Some(_) => query.parsed::<AccountName>("account", "the name of an account")?,
    };
    let page = Page::of(&call);
    let answer = match &repository {
        Some(repository) => {
            let explained = manage(&call).explain(account.as_ref(), repository).await;
            Some(map_error(&call, explained)?)
        }
        None => None,
    };
    let body = AccessPage {
        reasons: answer.iter().flat_map(|answer| &answer.reasons).map(|why| reason(&page, why)).collect(),
        account: account.map(|account| account.to_string()).unwrap_or_default(),
        repository: repository.map(|repository| repository.to_string()).unwrap_or_default(),
        rights: answer.map(|answer| answer.rights),
        page,
    };
    body.page.render(&body)
}

/// Writes a reason in the language of the page.
fn reason(page: &Page, reason: &Reason) -> String {
    let plain = |key: &str| page.t(key).into_owned();
    let listed = |rights: &Rights| page.rights(rights).join(", ");
    match reason {
        Reason::NoAccounts => plain("reason-no-accounts"),
        Reason::Disabled => plain("reason-disabled"),
        Reason::Administrator => plain("reason-administrator"),
        Reason::Owner => plain("reason-owner"),
        Reason::Member(organisation, role) => page
            .language
            .text_with("reason-member", &[("subject", organisation.as_str()), ("gives", &page.role(role))]),
        Reason::Grant(grant) => {
            let subject = match &grant.subject {
                Subject::Everyone => plain("subject-everyone"),
                Subject::Accounts => plain("subject-accounts"),
                Subject::Account(name) => page.with("subject-account", name),
                Subject::Team(..) => page.with("subject-team", &grant.subject),
            };
            let (repositories, gives) = (grant.pattern.to_string(), listed(&grant.rights));
            let values = [("subject", &*subject), ("repositories", &*repositories), ("gives", &*gives)];
            page.language.text_with("reason-grant", &values)
        }
        Reason::Location(rights) => page.with("reason-location", listed(rights)),
    }
}
