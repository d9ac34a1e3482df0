//! `/api/v1/usage`: space used by the whole registry.

use super::types::Usage;
use crate::http::app::App;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(app: &App) -> Result<Response, Error> {
    Ok(response::json(&Usage::from(app.registry.usage().await?)))
}
