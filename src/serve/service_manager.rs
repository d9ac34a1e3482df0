//! Notifications to the service manager (`NOTIFY_SOCKET`, sd_notify(3)). Without one, they do nothing.

use std::io;

use sd_notify::NotifyState;

/// The server listens.
pub(super) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins. [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => {
            notify(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration again")])
        }
        Err(error) => tracing::debug!(%error, "cannot read the monotonic clock"),
    }
}

/// The server stops.
pub(super) fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Keeps the watchdog of the service manager quiet, if it watches this process. A runtime that no longer runs
/// tasks does not, and is restarted.
pub(super) async fn watch() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(limit / 2);
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let sent: io::Result<()> = sd_notify::notify(state);
    if let Err(error) = sent {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
