//! `wharfinger gateway`: accounts, HTTPS and search in front of a registry that has none.

use clap::Args;

use super::output::Failure;
use super::settings::{Settings, flag};
use super::start::{SIGNALS_HELP, Start, inherited_sockets};
use crate::config::ConfigErrors;
use crate::serve::Front;

/// Run a gateway: accounts, HTTPS and search in front of a registry that has none
#[derive(Args, Debug)]
#[command(after_help = [HELP, SIGNALS_HELP].concat())]
#[command(mut_arg("blobs", |blobs| blobs.hide(true)), mut_arg("metadata", |metadata| metadata.hide(true)))]
pub(super) struct Gateway {
    /// The upstream registry, such as http://registry:5000; may be repeated for replicas of one registry:
    /// requests go to the first, and to the others if it does not respond
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    start: Start,
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
";

impl Gateway {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let upstreams = (!self.upstream.is_empty()).then(|| self.upstream.join(","));
        let upstreams = flag("--upstream", "gateway.upstreams", upstreams);
        let sockets = inherited_sockets()?;
        let addresses = sockets.addresses();
        let settings = self.settings;
        let read = move || {
            let mut loaded = settings.load_with(upstreams.clone())?;
            addresses.put_into(&mut loaded.config);
            Ok::<_, ConfigErrors>(loaded)
        };
        let loaded = read()?;
        if loaded.config.gateway.upstreams.is_empty() {
            return Err(Failure::usage("the upstream registry of the gateway is missing")
                .help("name it, as in --upstream http://registry:5000"));
        }
        Box::pin(self.start.run(loaded, Box::new(read), Front::Gateway, sockets)).await
    }
}
