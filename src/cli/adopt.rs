//! `wharfinger adopt`: adopts changes that another program made in the data directory.

use std::time::Duration;

use api::{Adopt as Request, Adopted};
use clap::Args;
use reqwest::Method;

use super::output::{self, Exit, Failure, Format, counted};
use super::target::Target;

/// Read the data directory again, and adopt changes that another program made in it
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Adopt {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
It reads every link below repositories/ and adopts images and tags that another program pushed, moved or deleted \
there. Links that could not be adopted before are tried again. Accounts, grants and tokens stay. No file is changed or \
removed.

Examples:
  wharfinger adopt
  wharfinger adopt --data /srv/registry --json

Without --server it works on the data directory, through its server if one is running.

Exit codes: 0 everything is adopted; 1 some links are not, or it failed; 2 invalid command line.";

/// Reading every link of a large directory on a slow disk takes long.
const TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

impl Adopt {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let adopted: Adopted = self
            .target
            .with(async |registry| {
                let request = registry.request(Method::POST, "/api/v1/adopt").json(&Request {});
                registry.json(request.timeout(TIMEOUT)).await
            })
            .await?;
        if self.format.json {
            output::print_json(&adopted)?;
        } else {
            print(&adopted)?;
        }
        if adopted.problems.is_empty() { Ok(()) } else { Err(Failure::reported(Exit::Failed)) }
    }
}

fn print(adopted: &Adopted) -> Result<(), Failure> {
    for change in &adopted.changes {
        output::print(format_args!("{}: {}\n", change.repository, change.change))?;
    }
    let Adopted { repositories, manifests, tags, .. } = adopted;
    let changes = adopted.changes.len();
    output::print(format_args!(
        "{} with {} and {}: {} adopted\n",
        counted(*repositories, "repository", "repositories"),
        counted(*manifests, "manifest", "manifests"),
        counted(*tags, "tag", "tags"),
        counted(changes, "change", "changes")
    ))?;
    for incomplete in &adopted.incomplete {
        output::print(format_args!(
            "incomplete: repositories/{}: {}\n",
            incomplete.path, incomplete.problem
        ))?;
    }
    for problem in &adopted.problems {
        output::print(format_args!("not adopted: repositories/{}: {}\n", problem.path, problem.problem))?;
    }
    Ok(())
}
