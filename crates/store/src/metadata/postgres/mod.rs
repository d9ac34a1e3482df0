//! The driver of PostgreSQL: synchronous sessions over tokio-postgres.

mod error;
mod runtime;
mod session;
mod tls;
mod values;

pub(super) use session::Session;
pub(super) use tokio_postgres::Row;
