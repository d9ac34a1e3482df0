//! `/api/v1/reload`: reads the configuration again.

use super::{must_be_administrator, ok};
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;

pub(crate) async fn reload(call: Call<'_>) -> Result<Response, Error> {
    must_be_administrator(&call)?;
    let requests = call.app.reload.as_ref().ok_or(Error::NotServing)?;
    let reloaded = requests.reload().await.ok_or(Error::NotServing)?;
    Ok(ok(&reloaded))
}
