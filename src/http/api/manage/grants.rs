//! Grants.

use accounts::{AccountName, Pattern, Subject};
use api::{Grants, NewGrant};
use oci::RepositoryName;
use registry::access::manage::{Grants as Which, Manage};

use super::{body, change, list_page, no_content};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::extract::query::Query;
use crate::http::response::Response;

const SUBJECT: &str = "a user, a robot, a team (acme/devs), `accounts` or `everyone`";

const ALONE: &str = "alone: of subject, account, repository and owner one can be given";

pub(crate) async fn list(call: Call<'_>) -> Result<Response, Error> {
    let (which, filter) = which(call.query())?;
    let filters: Vec<_> = filter.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let read = async |manage: Manage, after: Option<i64>, limit| manage.grants(which, after, limit).await;
    list_page::<Grants, _, _>(&call, "/api/v1/grants", &filters, read, convert::grant).await
}

/// A parameter of the query that pages of a list have in common, and its value.
type Filter = (&'static str, String);

/// Which grants a query asks for; and by which parameter, for the next page.
fn which(query: Query<'_>) -> Result<(Which, Option<Filter>), Error> {
    let subject = query.parsed::<Subject>("subject", SUBJECT)?;
    let repository = query.parsed::<RepositoryName>("repository", "the name of a repository")?;
    let owner = query.parsed::<AccountName>("owner", "the name of a user or an organisation")?;
    let reaching = query.parsed::<AccountName>("account", "the name of a user or a robot")?;
    if let Some(account) = reaching {
        if subject.is_some() || repository.is_some() || owner.is_some() {
            return Err(Error::BadParameter { parameter: "account", expected: ALONE });
        }
        let filter = ("account", account.to_string());
        return Ok((Which::Reaching(account), Some(filter)));
    }
    Ok(match (subject, repository, owner) {
        (None, None, None) => (Which::All, None),
        (Some(subject), None, None) => (Which::To(subject.clone()), Some(("subject", subject.to_string()))),
        (None, Some(name), None) => (Which::On(name.clone()), Some(("repository", name.to_string()))),
        (None, None, Some(owner)) => (Which::Below(owner.clone()), Some(("owner", owner.to_string()))),
        _ => {
            return Err(Error::BadParameter { parameter: "subject", expected: ALONE });
        }
    })
}

pub(crate) async fn set(mut call: Call<'_>) -> Result<Response, Error> {
    let NewGrant { subject, rights, repositories } = body(&mut call).await?;
    change(&call, |manage| async move { manage.set_grant(&subject, &repositories, rights).await }).await?;
    Ok(no_content())
}

pub(crate) async fn remove(call: Call<'_>) -> Result<Response, Error> {
    let missing = |parameter, expected| Error::BadParameter { parameter, expected };
    let query = call.query();
    let subject = query.parsed::<Subject>("subject", SUBJECT)?.ok_or_else(|| missing("subject", SUBJECT))?;
    let expected = "the name or the pattern of the grant";
    let pattern = query.parsed::<Pattern>("repositories", expected)?;
    let pattern = pattern.ok_or_else(|| missing("repositories", expected))?;
    change(&call, |manage| async move { manage.remove_grant(&subject, &pattern).await }).await?;
    Ok(no_content())
}
