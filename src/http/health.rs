//! `/healthz` and `/readyz`: for whatever starts, watches and balances servers.

use crate::http::app::App;
use crate::http::error::Error;
use crate::http::response::{self, Response};

/// Whether the process answers: it does. A server that fails this should be started again.
pub(crate) fn health() -> Response {
    response::text("ok\n".to_owned())
}

/// Whether the store behind it answers, too, and the registry behind it if this is a gateway. A server that fails this should get no requests for now; nothing else
/// is wrong with it, so starting it again would not help.
pub(crate) async fn ready(app: &App) -> Result<Response, Error> {
    app.registry.ready().await.map_err(Error::NotReady)?;
    if let Some(proxy) = &app.content_proxy {
        proxy.ready().await?;
    }
    // It serves all images, so that it stays ready. Names are not for everyone who asks here.
    Ok(response::text(match app.registry.blocked_repositories().len() {
        0 => "ready\n".to_owned(),
        blocked => format!(
            "ready\ndegraded: the links of {blocked} repositories below repositories/ cannot be written; the log and \
             `wharfinger check` tell which and why\n"
        ),
    }))
}
