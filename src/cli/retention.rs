//! `wharfinger retention`: previews and runs the retention rules.

use std::time::{Duration, UNIX_EPOCH};

use api::{RetentionDeletion, RetentionReport, RetentionRequest};
use clap::{Args, Subcommand};
use oci::RepositoryName;
use reqwest::Method;

use super::output::{self, Column, Failure, Format, Row};
use super::target::Target;
use crate::rfc3339;

/// Delete old tags by the retention rules of the configuration ([[retention]]) and of owners
#[derive(Args, Debug)]
pub(super) struct RetentionCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Preview(Preview),
    Run(Run),
}

/// Show which tags a run would delete, and by which rule
#[derive(Args, Debug)]
#[command(after_help = PREVIEW_HELP)]
struct Preview {
    #[command(flatten)]
    options: Options,
}

/// Delete the tags that no rule keeps
#[derive(Args, Debug)]
#[command(after_help = RUN_HELP)]
struct Run {
    #[command(flatten)]
    options: Options,
}

#[derive(Args, Debug)]
struct Options {
    /// Only this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<RepositoryName>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const PREVIEW_HELP: &str = "\
A preview runs the same code as a run, and rolls it back. With --data, the rules are those of the configuration that \
this command reads, unless a server is running.

Examples:
  wharfinger retention preview
  wharfinger retention preview --repository team/app --json

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

const RUN_HELP: &str = "\
The server also runs at the times of the setting retention_schedule. Images that lose their last tag go to the trash, \
and are removed after the grace period (gc.grace). Until then, `wharfinger undo --run ID` takes back a whole run.

Examples:
  wharfinger retention run
  wharfinger undo --run 20261120-030000-4f2a

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

/// A run over very many repositories takes hours.
const TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

impl Row for RetentionDeletion {
    const COLUMNS: &'static [Column] =
        &[Column::text("TAG"), Column::text("DIGEST"), Column::text("IMAGE"), Column::text("RULE").cut()];

    fn cells(&self) -> Vec<String> {
        let image = if self.with_manifest { "deleted" } else { "kept" };
        vec![
            format!("{}:{}", self.repository, self.tag),
            self.digest.to_string(),
            image.to_owned(),
            self.reason.clone(),
        ]
    }
}

impl RetentionCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Preview(Preview { options }) => options.send("preview").await,
            Command::Run(Run { options }) => options.send("run").await,
        }
    }
}

impl Options {
    async fn send(self, what: &str) -> Result<(), Failure> {
        let request = RetentionRequest { repository: self.repository.clone() };
        let path = format!("/api/v1/retention/{what}");
        let report: RetentionReport = self
            .target
            .with(async |registry| {
                let post = registry.request(Method::POST, &path).timeout(TIMEOUT).json(&request);
                registry.json(post).await
            })
            .await?;
        if self.format.json {
            return output::print_json(&report);
        }
        let RetentionReport { run, repositories, kept, deleted, undo_until } = report;
        if !deleted.is_empty() {
            output::print_list(self.format, &deleted)?;
            output::print("\n")?;
        }
        if repositories == 0 {
            let subject = self.repository.map_or_else(|| "a repository".to_owned(), |name| name.to_string());
            return output::print(format_args!(
                "no retention rule is about {subject}: [[retention]] in the configuration sets rules, and so does \
                 `PUT /api/v1/retention/rules`\n"
            ));
        }
        let count = deleted.len();
        let tags = output::counted(count, "tag", "tags");
        let repositories = output::counted(repositories, "repository", "repositories");
        match run {
            Some(run) => {
                output::print(format_args!("run {run}: deleted {tags} in {repositories}, kept {kept}\n"))?;
                let until = undo_until.map(|at| rfc3339::seconds(UNIX_EPOCH + Duration::from_secs(at)));
                match until {
                    _ if count == 0 => Ok(()),
                    Some(until) => output::print(format_args!(
                        "`wharfinger undo --run {run}` takes it back until {until}, when the grace period ends\n"
                    )),
                    None => output::print(format_args!(
                        "`wharfinger undo --run {run}` takes it back only until the next collection, because gc.grace is 0\n"
                    )),
                }
            }
            None => {
                output::print(format_args!("a run would delete {tags} in {repositories}, and keep {kept}\n"))
            }
        }
    }
}
