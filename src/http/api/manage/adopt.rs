//! Adoption of changes that other programs made in the data directory.

use api::Adopt;

use super::{body, change, ok};
use crate::http::api::convert;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn adopt(mut call: Call<'_>) -> Result<Response, Error> {
    let Adopt {} = body(&mut call).await?;
    let registry = call.registry();
    let adopting = registry.clone();
    let report = change(&call, |manage| async move { manage.adopt(adopting.adopt()).await }).await?;
    Ok(ok(&convert::adopted(report, registry.adoption_problems().await?)))
}
