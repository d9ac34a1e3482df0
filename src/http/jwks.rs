//! `/.well-known/jwks.json`: the public halves of the keys that sign tokens (RFC 7517), for who wants to check them.

use super::app::App;
use super::response::{self, Response};

pub(crate) fn get(app: &App) -> Response {
    response::json(&app.accounts.jwks())
}
