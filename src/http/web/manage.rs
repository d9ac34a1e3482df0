//! Changes by forms: they run to their end, and their result is shown on the page of the form.

use std::future::Future;

use hyper::StatusCode;
use registry::access::Secret;
use registry::access::manage::{Manage, ManageError};
use registry::records::StoreError;

use super::explain::explain_refusal;
use super::page::Page;
use crate::http::api::manage::manage;
use crate::http::call::Call;
use crate::http::error::Error;

/// The result of a form.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The change that was made.
    pub(crate) done: Option<String>,
    /// Why nothing was done.
    pub(crate) problem: Option<String>,
    /// A new secret, which is shown this once.
    pub(crate) secret: Option<String>,
}

impl Outcome {
    pub(crate) fn problem(text: impl Into<String>) -> Self {
        Self { problem: Some(text.into()), ..Self::default() }
    }

    /// A confirmation without the right name.
    pub(crate) fn mismatch(page: &Page) -> Self {
        Self::problem(page.t("confirmation-mismatch"))
    }

    /// The status of the page that shows it.
    pub(crate) fn status(&self) -> StatusCode {
        if self.problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }
    }

    /// Shows the text `key` after a change, and the reason of a refused one.
    pub(crate) fn of(page: &Page, result: Result<(), ManageError>, key: &str) -> Result<Self, Error> {
        match result {
            Ok(()) => Ok(Self { done: Some(page.t(key).into_owned()), ..Self::default() }),
            Err(ManageError::Registry(error)) if !is_of_the_input(&error) => Err(error.into()),
            Err(error) => Ok(Self::problem(explain(page, &error))),
        }
    }

    /// As [`Outcome::of`], for a function of the API.
    pub(crate) fn of_api<T>(
        page: &Page,
        result: Result<T, Error>,
        key: &str,
    ) -> Result<(Option<T>, Self), Error> {
        match result {
            Ok(value) => Ok((Some(value), Self { done: Some(page.t(key).into_owned()), ..Self::default() })),
            Err(Error::Manage(error)) => Ok((None, Self::problem(explain(page, &error)))),
            Err(Error::BadParameter { parameter, expected }) => {
                let named = format!("problem-{parameter}");
                let text = if page.language.has(&named) {
                    page.t(&named).into_owned()
                } else {
                    format!("{parameter}: {expected}")
                };
                Ok((None, Self::problem(text)))
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Outcome::of`], with a secret.
    pub(crate) fn secret(page: &Page, result: Result<Secret, ManageError>, key: &str) -> Result<Self, Error> {
        match result {
            Ok(secret) => {
                let shown = Self::of(page, Ok(()), key)?;
                Ok(Self { secret: Some(secret.reveal().to_owned()), ..shown })
            }
            Err(error) => Self::of(page, Err(error), key),
        }
    }
}

fn is_of_the_input(error: &registry::Error) -> bool {
    matches!(
        error,
        registry::Error::PasswordRefused(_) | registry::Error::NameUnfit(_) | registry::Error::Busy
    )
}

/// Returns the reason in the language of the page, or else in English.
fn explain(page: &Page, error: &ManageError) -> String {
    explain_refusal(page, error).unwrap_or_else(|| error.to_string())
}

/// Runs a change in its own task, so that a client that disconnects does not cancel it half-way.
pub(crate) async fn run<T: Send + 'static, W>(
    call: &Call<'_>,
    work: impl FnOnce(Manage) -> W,
) -> Result<T, ManageError>
where
    W: Future<Output = Result<T, ManageError>> + Send + 'static,
{
    let result = tokio::spawn(work(manage(call))).await;
    result.unwrap_or_else(|_| Err(StoreError::Closed.into()))
}
