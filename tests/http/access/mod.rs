//! Who may do what, and how they say who they are.

mod audit;
mod auth;
mod guesses;
mod htpasswd;
mod limits;
mod locations;
mod manage;
mod matrix;
mod tokens;
