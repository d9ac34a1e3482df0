//! `/healthz` and `/readyz`: probes for load balancers and orchestrators.

use std::fmt;

use bytesize::ByteSize;
use registry::DiskState;

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::cluster::{PROOF, Role};
use crate::http::error::Error;
use crate::http::response::{self, Response};

/// A fault with which the server still answers pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Degraded {
    /// A replica has no primary.
    NoPrimary,
    DiskFull,
    /// The free space and the reserve in bytes.
    ReserveReached {
        free: u64,
        reserve: u64,
    },
    DiskReadOnly,
    /// The number of repositories whose links cannot be written.
    BlockedLinks(u64),
    /// The number of blobs whose files cannot be written.
    BlockedFiles(u64),
}

impl fmt::Display for Degraded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHECK: &str = "cannot be written; the log and `wharfinger check` tell which and why";
        match self {
            Self::NoPrimary => {
                write!(formatter, "there is no primary server; pushes are refused, pulls go on")
            }
            Self::DiskFull => write!(
                formatter,
                "the disk is full (see df -h and df -i); pushes are refused, pulls and deletions go on"
            ),
            Self::ReserveReached { free, reserve } => write!(
                formatter,
                "only {} are free on the disk, and the operator keeps back {} (storage.reserve); pushes are refused, \
                 pulls and deletions go on",
                ByteSize::b(*free).display().iec(),
                ByteSize::b(*reserve).display().iec()
            ),
            Self::DiskReadOnly => {
                write!(formatter, "the disk is read-only; pushes and deletions are refused, pulls go on")
            }
            Self::BlockedLinks(1) => {
                write!(formatter, "the links of 1 repository below repositories/ {CHECK}")
            }
            Self::BlockedLinks(count) => {
                write!(formatter, "the links of {count} repositories below repositories/ {CHECK}")
            }
            Self::BlockedFiles(1) => write!(formatter, "the file of 1 blob below blobs/ {CHECK}"),
            Self::BlockedFiles(count) => write!(formatter, "the files of {count} blobs below blobs/ {CHECK}"),
        }
    }
}

/// Returns the faults of a server that is ready, for `/readyz` and the page of administrators.
pub(crate) fn faults(app: &App) -> Vec<Degraded> {
    if let Role::Replica(forwarder) = &*app.role {
        // The primary tells of the storage.
        return if forwarder.has_primary() { Vec::new() } else { vec![Degraded::NoPrimary] };
    }
    let registry = &app.registry;
    let disk = match registry.disk_state() {
        DiskState::Writable => None,
        DiskState::Full => Some(Degraded::DiskFull),
        // The content of a gateway is not on this disk.
        DiskState::ReserveReached { .. } if app.content_proxy.is_some() => None,
        DiskState::ReserveReached { free, reserve } => Some(Degraded::ReserveReached { free, reserve }),
        DiskState::ReadOnly => Some(Degraded::DiskReadOnly),
    };
    let links = registry.blocked_repositories().len() as u64;
    let files = registry.unwritten_content().len() as u64;
    let links = (links > 0).then_some(Degraded::BlockedLinks(links));
    let files = (files > 0).then_some(Degraded::BlockedFiles(files));
    [disk, links, files].into_iter().flatten().collect()
}

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
    // A degraded registry serves all images. The names of repositories are not for anonymous clients.
    let mut state = "ready\n".to_owned();
    for fault in faults(app) {
        state += &format!("degraded: {fault}\n");
    }
    Ok(response::text(state))
}
