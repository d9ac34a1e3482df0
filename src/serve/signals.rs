//! Signals: SIGTERM and SIGINT stop the server, SIGHUP and requests reload the configuration.

use std::io;
use std::sync::Arc;

use api::Reloaded;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};

use super::service_manager;
use crate::http::reload_requests::ReloadQueue;
use crate::http::server::Stop;
use crate::reload::Reload;

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Handles signals for ever. The first SIGTERM or SIGINT stops gracefully. Each further one stops at once
    /// and notifies `hurry`.
    pub(super) async fn handle(
        mut self,
        stop: Stop,
        status: String,
        hurry: Arc<Notify>,
        mut reload: Reload,
        mut requests: Option<ReloadQueue>,
    ) {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hangup.recv(), if !is_stopping => {
                    if Box::pin(self.run(&mut reload, &status, None)).await {
                        continue;
                    }
                }
                request = next(&mut requests), if !is_stopping => {
                    if Box::pin(self.run(&mut reload, &status, Some(request))).await {
                        continue;
                    }
                }
            }
            if is_stopping {
                stop.at_once();
                hurry.notify_waiters();
            } else {
                is_stopping = true;
                // Requests for a reload fail from here on.
                requests = None;
                service_manager::stopping("waiting for transfers to end");
                tracing::info!(
                    limit_seconds = reload.in_force.borrow().limits.shutdown_timeout.as_secs_f64(),
                    "stopping: no more connections are taken, requests under way may end within \
                     limits.shutdown_timeout; a second signal stops at once"
                );
                stop.gracefully();
            }
        }
    }

    /// Reloads, and answers the request for it. Returns `false` if the server has to stop, which a slow
    /// reload must not delay.
    async fn run(
        &mut self,
        reload: &mut Reload,
        status: &str,
        request: Option<oneshot::Sender<Reloaded>>,
    ) -> bool {
        service_manager::reloading();
        tokio::select! {
            reloaded = reload.run() => {
                service_manager::ready(status);
                if let Some(request) = request {
                    // The client may be gone.
                    let _ = request.send(reloaded);
                }
                true
            }
            _ = self.terminate.recv() => false,
            _ = self.interrupt.recv() => false,
        }
    }
}

/// Returns the next request for a reload. Waits for ever if there can be none.
async fn next(requests: &mut Option<ReloadQueue>) -> oneshot::Sender<Reloaded> {
    if let Some(queue) = requests
        && let Some(request) = queue.recv().await
    {
        return request;
    }
    std::future::pending().await
}
