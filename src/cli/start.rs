//! The start of a server, for `serve` and `gateway`.

use clap::Args;

use super::administrator::Administrator;
use super::output::Failure;
use crate::config::{ConfigErrors, Loaded};
use crate::reload::ReadConfig;
use crate::serve::{self, Front, InheritedSockets, ServeError};
use crate::{logging, traces};

/// The end of the help of a server.
pub(super) const SIGNALS_HELP: &str = "
SIGTERM and Ctrl-C stop it after the running transfers, or after 30 seconds (`limits.shutdown_timeout`). On SIGHUP, \
and for `wharfinger reload`, it reads the configuration, the htpasswd file and the certificate again. The log names \
the changed settings that are in force, and those that need a restart. It takes sockets of systemd (LISTEN_FDS), and \
notifies it (NOTIFY_SOCKET).

Exit codes: 0 stopped by a signal; 1 failure; 2 invalid command line or configuration.";

#[derive(Args, Debug)]
pub(super) struct Start {
    #[command(flatten)]
    administrator: Administrator,

    /// Use a database that lacks its last commits, such as one from a backup: the missing changes are lost
    #[arg(long)]
    accept_older_database: bool,
}

impl Start {
    /// Serves until a signal. `read` reads the configuration again.
    pub(super) async fn run(
        self,
        Loaded { config, file, .. }: Loaded,
        read: ReadConfig,
        front: Front,
        sockets: InheritedSockets,
    ) -> Result<(), Failure> {
        let first = self.administrator.read()?;
        serve::finish_move(&config)
            .map_err(|error| Failure::new("cannot finish the move of the registry").because(&error))?;
        // Checked before the data directory is created or changed, and again once it is open.
        if let Some(exposed) = serve::refused(&config, first.as_ref()) {
            return Err(ConfigErrors(vec![exposed]).into());
        }
        super::config::check_files(&config)?;
        if self.accept_older_database {
            serve::accept_older_database(&config)
                .map_err(|error| Failure::new("cannot take the database as it is").because(&error))?;
        }
        let traces = traces::start(&config.tracing)
            .map_err(|error| Failure::new("cannot start the traces").because(&error))?;
        logging::start(&config.log, traces)
            .map_err(|error| Failure::new("cannot start the log").because(&error))?;
        Box::pin(serve::serve(config, file, read, front, first, sockets)).await.map_err(|error| match error {
            ServeError::Exposed(error) => ConfigErrors(vec![error]).into(),
            error => Failure::new("cannot serve").because(&error),
        })
    }
}

/// Takes the sockets of the service manager.
pub(super) fn inherited_sockets() -> Result<InheritedSockets, Failure> {
    InheritedSockets::take().map_err(|error| Failure::new("cannot listen").because(&error))
}
