//! Socket activation: listeners that the service manager has opened (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! The service manager keeps them open. So it can bind port 443 for a server without privileges, and
//! connections wait during a restart instead of being refused.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use socket2::Socket;

use super::error::ServeError;
use crate::config::Config;

/// The listeners of this process, by their purpose.
#[derive(Debug, Default)]
pub struct InheritedSockets {
    pub(super) listen: Option<TcpListener>,
    pub(super) redirect: Option<TcpListener>,
    pub(super) metrics: Option<TcpListener>,
}

/// An unusable socket of the service manager.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    #[error("cannot take the sockets of the service manager")]
    Environment(#[source] io::Error),
    #[error(
        "the socket {name} of the service manager is not a listening TCP socket: use ListenStream= with an address"
    )]
    Kind { name: String },
    #[error(
        "the service manager passes two sockets for {purpose}: name them with FileDescriptorName=listen, redirect or metrics"
    )]
    Twice { purpose: &'static str },
}

impl InheritedSockets {
    /// Takes the sockets of this process. Call it once, before other files are opened.
    ///
    /// # Errors
    /// [`InheritError`].
    pub fn take() -> Result<Self, InheritError> {
        let mut sockets = Self::default();
        if std::env::var_os("LISTEN_FDS").is_none() {
            return Ok(sockets);
        }
        let passed: Vec<(RawFd, String)> = match sd_notify::listen_fds_with_names() {
            Ok(passed) => passed.collect(),
            // The names are optional.
            Err(_) => {
                let passed = sd_notify::listen_fds().map_err(InheritError::Environment)?;
                passed.map(|socket| (socket, "unknown".to_owned())).collect()
            }
        };
        for (socket, name) in passed {
            // SAFETY: the service manager passed this descriptor to this process, and nothing else owns it.
            let socket = unsafe { OwnedFd::from_raw_fd(socket) };
            sockets.add(socket.into(), name)?;
        }
        Ok(sockets)
    }

    fn add(&mut self, socket: Socket, name: String) -> Result<(), InheritError> {
        let is_tcp = socket.local_addr().is_ok_and(|address| address.as_socket().is_some());
        if !is_tcp || !socket.is_listener().unwrap_or(false) {
            return Err(InheritError::Kind { name });
        }
        // Commands that this process starts do not get it.
        let _ = socket.set_cloexec(true);
        let (place, purpose) = if name.contains("redirect") {
            (&mut self.redirect, "tls.redirect")
        } else if name.contains("metrics") {
            (&mut self.metrics, "metrics.listen")
        } else {
            (&mut self.listen, "listen")
        };
        if place.replace(socket.into()).is_some() {
            return Err(InheritError::Twice { purpose });
        }
        Ok(())
    }

    /// Returns duplicates for another server of this process.
    pub(super) fn duplicate(&self) -> Result<Self, ServeError> {
        let duplicate =
            |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::try_clone).transpose();
        let all = || {
            Ok(Self {
                listen: duplicate(&self.listen)?,
                redirect: duplicate(&self.redirect)?,
                metrics: duplicate(&self.metrics)?,
            })
        };
        all().map_err(ServeError::Sockets)
    }

    /// Returns the addresses, which replace those of the configuration.
    #[must_use]
    pub fn addresses(&self) -> InheritedAddresses {
        let address = |listener: &Option<TcpListener>| listener.as_ref()?.local_addr().ok();
        InheritedAddresses {
            listen: address(&self.listen),
            redirect: address(&self.redirect),
            metrics: address(&self.metrics),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct InheritedAddresses {
    listen: Option<SocketAddr>,
    redirect: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

impl InheritedAddresses {
    /// Puts the addresses into a configuration, so that all checks and messages see them.
    pub fn put_into(self, config: &mut Config) {
        if let Some(address) = self.listen {
            config.listen = address;
        }
        config.tls.redirect = self.redirect.or(config.tls.redirect);
        config.metrics.listen = self.metrics.or(config.metrics.listen);
    }
}
