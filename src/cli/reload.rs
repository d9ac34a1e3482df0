//! `wharfinger reload`: has a running server read its configuration again.

use api::Reloaded;
use clap::Args;
use reqwest::Method;

use super::output::{self, Exit, Failure, Format};
use super::target::Target;

/// Make a running server read its configuration, htpasswd file and certificate again
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Reload {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
The server reads the file and the environment that it was started with; its flags stay in force. No transfer is cut. \
With a mistake, all settings stay as they were. Settings that need a restart are named.

Examples:
  wharfinger reload --data /var/lib/wharfinger
  wharfinger reload --server https://registry.example.com --user admin

Exit codes: 0 done, also if settings need a restart; 1 a mistake, or no server runs; 2 invalid command line.";

impl Reload {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let server = self.target.connect_running().await?;
        let reloaded = server.json::<Reloaded>(server.request(Method::POST, "/api/v1/reload")).await;
        server.close().await;
        let reloaded = reloaded?;
        if self.format.json {
            output::print_json(&reloaded)?;
            return if reloaded.errors.is_empty() { Ok(()) } else { Err(Failure::reported(Exit::Failed)) };
        }
        for setting in &reloaded.applied {
            output::print(format_args!("{setting}: the new value is in force\n"))?;
        }
        for setting in &reloaded.needs_restart {
            output::print(format_args!(
                "{setting}: the new value needs a restart; the old one stays in force\n"
            ))?;
        }
        if reloaded.errors.is_empty() {
            let nothing = reloaded.applied.is_empty() && reloaded.needs_restart.is_empty();
            return output::print(if nothing { "reloaded; no setting has changed\n" } else { "reloaded\n" });
        }
        let failure = Failure::new(if reloaded.applied.is_empty() && reloaded.needs_restart.is_empty() {
            "the reload found mistakes: the settings stay as they were"
        } else {
            "the settings are in force, and these files stay as they were"
        });
        Err(reloaded.errors.iter().fold(failure, Failure::help))
    }
}
