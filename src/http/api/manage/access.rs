//! Explanations of access.

use accounts::AccountName;
use api::{Access, AccessReason};
use oci::RepositoryName;
use registry::access::manage::{Explanation, Reason};

use super::{manage, map_error, ok};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    map_error(&call, manage(&call).must_be_known())?;
    let query = call.query();
    let account = query.parsed::<AccountName>("account", "the name of an account")?;
    let repository = query.parsed::<RepositoryName>("repository", "the name of a repository")?;
    let expected = "the name of a repository";
    let repository = repository.ok_or(Error::BadParameter { parameter: "repository", expected })?;
    let explained = manage(&call).explain(account.as_ref(), &repository).await;
    Ok(ok(&convert(map_error(&call, explained)?)))
}

/// Converts an explanation.
pub(crate) fn convert(explanation: Explanation) -> Access {
    let reason = |kind: &str, subject, gives, repositories| AccessReason {
        kind: kind.to_owned(),
        subject,
        gives,
        repositories,
    };
    let reasons = explanation.reasons.into_iter().map(|why| match why {
        Reason::NoAccounts => reason("no-accounts", None, None, None),
        Reason::Disabled => reason("disabled", None, None, None),
        Reason::Administrator => reason("administrator", None, None, None),
        Reason::Owner => reason("owner", None, None, None),
        Reason::Member(organisation, role) => {
            reason("member", Some(organisation.to_string()), Some(role.to_string()), None)
        }
        Reason::Grant(grant) => reason(
            "grant",
            Some(grant.subject.to_string()),
            Some(grant.rights.to_string()),
            Some(grant.pattern.to_string()),
        ),
        Reason::Location(rights) => reason("location", None, Some(rights.to_string()), None),
    });
    Access { rights: explanation.rights, reasons: reasons.collect() }
}
