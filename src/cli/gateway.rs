//! `wharfinger gateway`: accounts, HTTPS and search before a registry that has none.

use clap::Args;

use super::administrator::Administrator;
use super::output::Failure;
use super::settings::{Settings, flag};
use crate::config::ConfigErrors;
use crate::serve::ServeError;
use crate::{logging, serve};

/// Run a gateway: accounts, HTTPS and search in front of a registry that has none
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Gateway {
    /// The registry behind, such as http://registry:5000; given several times, replicas of one registry, the first
    /// of which is asked and the others when it does not answer
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,

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
  wharfinger gateway --upstream http://registry:5000
      for this machine only, to try it
  wharfinger gateway --upstream http://registry:5000 --listen :443 \\
    --data /srv/gateway --htpasswd passwd \\
    --tls-self-signed registry.example.com
      for everyone with an account in the file

The data directory keeps accounts, grants and the audit log; images stay where they are, in the registry behind. \
Make sure that the registry behind can only be reached through the gateway. Every setting can be given in the configuration \
file, section [gateway]; `wharfinger config example` lists them.

It stops on SIGTERM and Ctrl-C, once the transfers under way have ended, or after 30 seconds (`limits.shutdown_timeout`). \
On SIGHUP it reads the configuration, the htpasswd file and the certificate again: a new `log.level` is in force at once, \
and the log names each other setting that was changed and needs a restart.

Exit codes: 0 stopped by a signal; 1 failed; 2 the command line or the configuration is wrong.";

impl Gateway {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let upstreams = (!self.upstream.is_empty()).then(|| self.upstream.join(","));
        let upstreams = flag("--upstream", "gateway.upstreams", upstreams);
        let settings = self.settings;
        let read = move || settings.load_with(upstreams.clone());
        let crate::config::Loaded { config, file, .. } = read()?;
        if config.gateway.upstreams.is_empty() {
            return Err(Failure::usage("the registry behind the gateway is missing")
                .help("name it, as in --upstream http://registry:5000"));
        }
        let first = self.administrator.read()?;
        if let Some(exposed) = serve::refused(&config, first.as_ref()) {
            return Err(ConfigErrors(vec![exposed]).into());
        }
        if self.accept_older_database {
            serve::accept_older_database(&config)
                .map_err(|error| Failure::new("cannot take the database as it is").because(&error))?;
        }
        logging::start(&config.log).map_err(|error| Failure::new("cannot start the log").because(&error))?;
        let served = serve::serve(config, file, Box::new(read), serve::Front::Gateway, first).await;
        served.map_err(|error| match error {
            ServeError::Exposed(error) => ConfigErrors(vec![error]).into(),
            error => Failure::new("cannot serve").because(&error),
        })
    }
}
