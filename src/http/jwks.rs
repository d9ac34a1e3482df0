//! `/.well-known/jwks.json`: the public keys of the token server (RFC 7517).

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    Ok(response::json(&call.app.accounts.jwks()))
}
