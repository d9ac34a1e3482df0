//! `wharfinger gateway`: accounts, HTTPS and search in front of a registry that has none.

use clap::Args;

use super::administrator::Administrator;
use super::output::Failure;
use super::settings::{Settings, flag};
use crate::config::ConfigErrors;
use crate::serve::ServeError;
use crate::{logging, serve, traces};

/// Run a gateway: accounts, HTTPS and search in front of a registry that has none
#[derive(Args, Debug)]
#[command(after_help = HELP, mut_arg("blobs", |blobs| blobs.hide(true)))]
pub(super) struct Gateway {
    /// The upstream registry, such as http://registry:5000; may be repeated for replicas of one registry: requests
    /// go to the first, and to the others if it does not respond
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    administrator: Administrator,

    /// Use a database that lacks its last commits, such as one from a backup: the missing changes are lost
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

The data directory has accounts, grants and the audit log; images stay in the upstream registry. Make sure that the \
upstream can only be reached through the gateway. The configuration file has all settings in the section [gateway]; \
`wharfinger config example` lists them.

SIGTERM and Ctrl-C stop it after the running transfers, or after 30 seconds (`limits.shutdown_timeout`). On SIGHUP, \
and for `wharfinger reload`, it reads the configuration, the htpasswd file and the certificate again. The log names \
the changed settings that are in force, and those that need a restart. It takes sockets of systemd (LISTEN_FDS), and \
notifies it (NOTIFY_SOCKET).

Exit codes: 0 stopped by a signal; 1 failure; 2 invalid command line or configuration.";

impl Gateway {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let upstreams = (!self.upstream.is_empty()).then(|| self.upstream.join(","));
        let upstreams = flag("--upstream", "gateway.upstreams", upstreams);
        let sockets =
            serve::InheritedSockets::take().map_err(|error| Failure::new("cannot listen").because(&error))?;
        let addresses = sockets.addresses();
        let settings = self.settings;
        let read = move || {
            let mut loaded = settings.load_with(upstreams.clone())?;
            addresses.put_into(&mut loaded.config);
            Ok::<_, ConfigErrors>(loaded)
        };
        let crate::config::Loaded { config, file, .. } = read()?;
        if config.gateway.upstreams.is_empty() {
            return Err(Failure::usage("the upstream registry of the gateway is missing")
                .help("name it, as in --upstream http://registry:5000"));
        }
        let first = self.administrator.read()?;
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
        let served = serve::serve(config, file, Box::new(read), serve::Front::Gateway, first, sockets).await;
        served.map_err(|error| match error {
            ServeError::Exposed(error) => ConfigErrors(vec![error]).into(),
            error => Failure::new("cannot serve").because(&error),
        })
    }
}
