//! The driver of PostgreSQL: synchronous sessions over tokio-postgres.

mod runtime;
mod session;
mod tls;
mod values;

pub(super) use session::Session;
