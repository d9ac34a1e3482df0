//! Adopting what another program has changed in the data directory.

use api::Adopt;

use super::{Call, body, change, shown};
use crate::http::api::convert;
use crate::http::error::Error;
use crate::http::response::Response;

pub(super) async fn adopt(call: Call<'_>) -> Result<Response, Error> {
    let Call { app, manage, request, .. } = call;
    let Adopt {} = body(request).await?;
    let registry = app.registry.clone();
    let adopting = registry.clone();
    let report = change(app, async move { manage.adopt(adopting.adopt()).await }).await?;
    Ok(shown(&convert::adopted(report, registry.adoption_problems().await?)))
}
