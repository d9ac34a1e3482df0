//! `/healthz` and `/readyz`: probes for load balancers and orchestrators.

use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::{self, Response};

/// Liveness. A server that fails this needs a restart.
pub(crate) async fn health(_call: Call<'_>) -> Result<Response, Error> {
    Ok(response::text("ok\n".to_owned()))
}

/// Readiness: asks the store, and the upstream of a gateway. A server that fails this should get no requests; a restart
/// would not help.
pub(crate) async fn ready(call: Call<'_>) -> Result<Response, Error> {
    let app = call.app;
    app.registry.ready().await.map_err(Error::NotReady)?;
    if let Some(proxy) = &app.content_proxy {
        proxy.ready().await?;
    }
    // A degraded registry serves all images. The names of repositories are not for anonymous clients.
    Ok(response::text(match app.registry.blocked_repositories().len() {
        0 => "ready\n".to_owned(),
        blocked => format!(
            "ready\ndegraded: the links of {blocked} {repositories} below repositories/ cannot be written; the log and \
             `wharfinger check` tell which and why\n",
            repositories = if blocked == 1 { "repository" } else { "repositories" },
        ),
    }))
}
