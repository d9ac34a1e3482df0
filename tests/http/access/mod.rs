//! Authentication and authorization over HTTP.

mod audit;
mod auth;
mod forward;
mod htpasswd;
mod limits;
mod locations;
mod login;
mod manage;
mod matrix;
mod revocation;
mod tokens;
