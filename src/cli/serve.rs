//! `wharfinger serve`: the registry itself.

use clap::Args;

use super::administrator::Administrator;
use super::output::Failure;
use super::settings::Settings;
use crate::config::ConfigErrors;
use crate::serve::ServeError;
use crate::{logging, serve};

/// Run the registry
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    administrator: Administrator,

    /// Use a database that is older than its last commit, such as one from a backup: what is missing in it is lost
    #[arg(long)]
    accept_older_database: bool,
}

const HELP: &str = "\
Examples:
  wharfinger serve
      for this machine only: docker push localhost:5000/team/app:1.0
  wharfinger serve --listen :5000 --data /srv/registry \\
    --htpasswd /etc/wharfinger/users
      for everyone who has a password in that file, made with htpasswd -B
  wharfinger serve --listen :5000 --admin ann --admin-password-file ann.txt
      the first start of a registry with accounts of its own
  wharfinger serve --listen :5000 --open --data /srv/registry
      without accounts, for a network where everyone may push and delete
  wharfinger serve --config /etc/wharfinger/wharfinger.toml --log-format json
      as a service

Every setting can be given in the configuration file or as a variable of the environment, such as \
WHARFINGER_LISTEN or WHARFINGER_LIMITS_BLOB_BYTES; `wharfinger config example` lists them. A flag wins over a \
variable, and that over the file.

Without accounts, everyone who reaches the port may pull, push, overwrite and delete. Beyond this machine that needs \
--open. Behind a proxy, set auth.required, so that an empty volume or a mistyped --data is not served; a directory that \
has had accounts is not served without them either.

It stops on SIGTERM and Ctrl-C, once the transfers under way have ended, or after 30 seconds (`limits.shutdown_timeout`). \
On SIGHUP it reads the configuration, the htpasswd file and the certificate again: a new `log.level` is in force at once, \
and the log names each other setting that was changed and needs a restart.

Exit codes: 0 stopped by a signal; 1 failed; 2 the command line or the configuration is wrong.";

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let settings = self.settings;
        let read = move || settings.load();
        let crate::config::Loaded { config, file, .. } = read()?;
        let first = self.administrator.read()?;
        // Before anything is made of the data; what is in there is looked at again when it is open.
        if let Some(exposed) = serve::refused(&config, first.as_ref()) {
            return Err(ConfigErrors(vec![exposed]).into());
        }
        if self.accept_older_database {
            serve::accept_older_database(&config)
                .map_err(|error| Failure::new("cannot take the database as it is").because(&error))?;
        }
        logging::start(&config.log).map_err(|error| Failure::new("cannot start the log").because(&error))?;
        let served = serve::serve(config, file, Box::new(read), serve::Front::Registry, first).await;
        served.map_err(|error| match error {
            ServeError::Exposed(error) => ConfigErrors(vec![error]).into(),
            error => Failure::new("cannot serve").because(&error),
        })
    }
}
