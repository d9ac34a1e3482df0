//! Who may do what, and how they say who they are.

mod audit;
mod auth;
mod forward;
mod htpasswd;
mod limits;
mod locations;
mod login;
mod manage;
mod matrix;
mod tokens;
