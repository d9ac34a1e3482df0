//! `wharfinger health`: whether a server answers and is ready, for container engines and scripts.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde::Serialize;

use super::output::{self, Exit, Failure, Format};
use super::target::Target;

/// Say whether a server is ready, by the exit code and one line
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Health {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
Without --server, it asks the server of the data directory through the control socket, so that it needs neither the \
address nor a certificate.

Examples:
  wharfinger health
  wharfinger health --server https://registry.example.com

Exit codes: 0 ready; 1 not ready, or no server answers; 2 invalid command line or configuration.";

/// A health check has to end before the next one.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Answer {
    ready: bool,
    status: String,
}

impl Health {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let server = match self.target.connect_running().await {
            Err(failure) if failure.is_usage() => return Err(failure),
            Err(failure) => return self.not_ready(&failure),
            Ok(server) => server,
        };
        let request = server.request(Method::GET, "/readyz").timeout(TIMEOUT);
        let answered = server.send(request).await;
        server.close().await;
        let status = match answered {
            Ok(response) => {
                let text = response.text().await.unwrap_or_default();
                // The second line tells of a degraded registry, which serves all images.
                text.lines().collect::<Vec<_>>().join("; ")
            }
            Err(failure) => return self.not_ready(&failure),
        };
        if self.format.json {
            return output::print_json(&Answer { ready: true, status });
        }
        output::print(format_args!("{status}\n"))
    }

    /// Says in one line why the server is not ready.
    fn not_ready(&self, failure: &Failure) -> Result<(), Failure> {
        let status = failure.summary();
        if self.format.json {
            output::print_json(&Answer { ready: false, status })?;
            return Err(Failure::reported(Exit::Failed));
        }
        Err(Failure::new(format!("not ready: {status}")))
    }
}
