//! Signals: SIGTERM and SIGINT stop the server, SIGHUP reloads the configuration.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

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

    /// Handles signals for ever. The first SIGTERM or SIGINT stops gracefully. Each further one stops at once and
    /// notifies `hurry`.
    pub(super) async fn handle(
        mut self,
        stop: Stop,
        limit: Duration,
        hurry: Arc<Notify>,
        mut reload: Reload,
    ) {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hangup.recv() => {
                    if !is_stopping {
                        // A slow reload must not delay a stop.
                        tokio::select! {
                            () = reload.run() => continue,
                            _ = self.terminate.recv() => {}
                            _ = self.interrupt.recv() => {}
                        }
                    } else {
                        continue;
                    }
                }
            }
            if is_stopping {
                stop.at_once();
                hurry.notify_waiters();
            } else {
                is_stopping = true;
                tracing::info!(
                    limit_seconds = limit.as_secs_f64(),
                    "stopping: no more connections are taken, requests under way may end within \
                     limits.shutdown_timeout; a second signal stops at once"
                );
                stop.gracefully();
            }
        }
    }
}
