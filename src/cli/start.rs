//! The start of a server, for `serve` and `gateway`.

use clap::Args;

use super::administrator::Administrator;
use super::output::Failure;
use crate::config::{ConfigErrors, Loaded};
use crate::reload::ReadConfig;
use crate::serve::{self, Front, InheritedSockets, ServeError};
use crate::{logging, traces};

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
        serve::serve(config, file, read, front, first, sockets).await.map_err(|error| match error {
            ServeError::Exposed(error) => ConfigErrors(vec![error]).into(),
            error => Failure::new("cannot serve").because(&error),
        })
    }
}

/// Takes the sockets of the service manager.
pub(super) fn inherited_sockets() -> Result<InheritedSockets, Failure> {
    InheritedSockets::take().map_err(|error| Failure::new("cannot listen").because(&error))
}
