//! `/-/admin`: pages for administrators. `registry::access::manage` checks each operation.

pub(crate) mod account;
pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod jobs;
pub(crate) mod organisations;
pub(crate) mod overview;
pub(crate) mod rules;
pub(crate) mod upstreams;
pub(crate) mod usage;

use crate::http::api::manage::{manage, map_error};
use crate::http::call::Call;
use crate::http::error::Error;

/// Checks that the caller is an administrator.
fn must_be_administrator(call: &Call<'_>) -> Result<(), Error> {
    map_error(call, manage(call).must_be_administrator())
}
