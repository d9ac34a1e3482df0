//! `/healthz` and `/readyz`: probes for load balancers and orchestrators.

use registry::DiskState;

use crate::http::call::Call;
use crate::http::cluster::{PROOF, Role};
use crate::http::error::Error;
use crate::http::response::{self, Response};

/// Liveness. A server that fails this needs a restart.
pub(crate) async fn health(call: Call<'_>) -> Result<Response, Error> {
    let mut response = response::text("ok\n".to_owned());
    if let Some(proof) = call.app.role.prove(&call.request.headers) {
        response.headers_mut().insert(PROOF, proof);
    }
    Ok(response)
}

/// Readiness: asks the store, and the upstream of a gateway. A server that fails this should get no requests;
/// a restart would not help.
pub(crate) async fn ready(call: Call<'_>) -> Result<Response, Error> {
    let app = call.app;
    app.registry.ready().await.map_err(Error::NotReady)?;
    if let Some(proxy) = &app.content_proxy {
        proxy.ready().await?;
    }
    if let Role::Replica(forwarder) = &*app.role {
        // Pulls go on without the primary.
        return Ok(response::text(match forwarder.has_primary() {
            true => "ready\n".to_owned(),
            false => {
                "ready\ndegraded: there is no primary server; pushes are refused, pulls go on\n".to_owned()
            }
        }));
    }
    // A degraded registry serves all images. The names of repositories are not for anonymous clients.
    let mut state = "ready\n".to_owned();
    state += match app.registry.disk_state() {
        DiskState::Writable => "",
        DiskState::Full => {
            "degraded: the disk is full (see df -h and df -i); pushes are refused, pulls and deletions go on\n"
        }
        DiskState::ReadOnly => {
            "degraded: the disk is read-only; pushes and deletions are refused, pulls go on\n"
        }
    };
    let mut degraded = |text: String| {
        state += &format!(
            "degraded: {text} cannot be written; the log and `wharfinger check` tell which and why\n"
        );
    };
    match app.registry.blocked_repositories().len() {
        0 => {}
        1 => degraded("the links of 1 repository below repositories/".to_owned()),
        blocked => degraded(format!("the links of {blocked} repositories below repositories/")),
    }
    match app.registry.unwritten_content().len() {
        0 => {}
        1 => degraded("the file of 1 blob below blobs/".to_owned()),
        unwritten => degraded(format!("the files of {unwritten} blobs below blobs/")),
    }
    Ok(response::text(state))
}
