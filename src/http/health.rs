//! `/healthz` and `/readyz`: for whatever starts, watches and balances servers.

use super::app::App;
use super::error::Error;
use super::response::{self, Response};

/// Whether the process answers: it does. A server that fails this should be started again.
pub(crate) fn health() -> Response {
    response::text("ok\n".to_owned())
}

/// Whether the store behind it answers, too, and the registry behind it if this is a gateway. A server that fails this should get no requests for now; nothing else
/// is wrong with it, so starting it again would not help.
pub(crate) async fn ready(app: &App) -> Result<Response, Error> {
    app.registry.ready().await.map_err(Error::NotReady)?;
    if let Some(gateway) = &app.gateway {
        gateway.ready().await?;
    }
    Ok(response::text("ready\n".to_owned()))
}
