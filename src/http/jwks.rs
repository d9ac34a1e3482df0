//! `/.well-known/jwks.json`: the public halves of the keys that sign tokens (RFC 7517), for who wants to check them.

use crate::http::app::App;
use crate::http::response::{self, Response};

pub(crate) fn get(app: &App) -> Response {
    response::json(&app.accounts.jwks())
}
