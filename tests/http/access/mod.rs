//! Authentication and authorization over HTTP.

mod audit;
mod auth;
mod forward;
mod grants;
mod htpasswd;
mod limits;
mod locations;
mod login;
mod manage;
mod matrix;
pub(crate) mod revocation;
mod tokens;
