//! `/-/access`: the rights of an account on a repository, and the reasons.

use accounts::AccountName;
use api::Access;
use askama::Template;
use oci::RepositoryName;

use super::page::Page;
use crate::http::api::manage::{access, manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    page: Page,
    account: String,
    repository: String,
    answer: Option<Access>,
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
            Some(access::convert(map_error(&call, explained)?))
        }
        None => None,
    };
    let reasons = answer.iter().flat_map(|answer| &answer.reasons).map(|reason| {
        page.language.text_with(
            &format!("reason-{}", reason.kind),
            &[
                ("subject", reason.subject.as_deref().unwrap_or_default()),
                ("gives", reason.gives.as_deref().unwrap_or_default()),
                ("repositories", reason.repositories.as_deref().unwrap_or_default()),
            ],
        )
    });
    let body = AccessPage {
        reasons: reasons.collect(),
        account: account.map(|account| account.to_string()).unwrap_or_default(),
        repository: repository.map(|repository| repository.to_string()).unwrap_or_default(),
        answer,
        page,
    };
    body.page.render(&body)
}
