//! `/api/v1/usage/quotas`: the quotas and their use.

use api::Quotas;

use super::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, caller, .. } = &call;
    let mut quotas = app.registry.quotas(&caller.visible()).await?;
    // People see the quota of their own repositories.
    if let Some(name) = caller.identity().name()
        && let Some(own) = app.registry.owner_quota(name).await?
        && !quotas.iter().any(|other| other.quota.scope == own.quota.scope)
    {
        quotas.push(own);
    }
    Ok(response::json(&Quotas { quotas: quotas.into_iter().map(convert::quota).collect() }))
}
