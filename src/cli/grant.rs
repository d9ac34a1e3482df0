//! `wharfinger grant`: rights on repositories.

use accounts::{Pattern, Rights, Subject};
use api::{Grant, Grants, NewGrant};
use clap::{Args, Subcommand};
use oci::RepositoryName;
use serde_json::json;

use super::manage::Options;
use super::output::{Column, Failure, Row};

/// Grants: rights on repositories for users, robots, teams or everyone
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct GrantCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Repositories are private: users have access to those below their own name, members of an organisation according to \
their role, and administrators to all. A grant adds rights, for
  ann            a user
  acme+deploy    a robot
  acme/devs      a team
  accounts       everyone with an account
  everyone       everyone, also without an account: public

Rights are pull, push, delete, administer and fill, separated by commas; push, delete and fill include pull, administer \
includes all. In a pattern, * matches characters other than /, ** any characters, ? one character.

Examples:
  wharfinger grant add everyone pull official/ubuntu
      public: pulled without an account
  wharfinger grant add acme/devs push 'official/*'
  wharfinger grant list --repository official/ubuntu
  wharfinger grant remove everyone official/ubuntu

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    #[command(visible_alias = "ls")]
    List(List),
    Remove(Remove),
}

/// Grant rights; they replace an earlier grant to the same subject on the same repositories
#[derive(Args, Debug)]
#[command(
    visible_alias = "change",
    after_help = "\
Examples:
  wharfinger grant add everyone pull official/ubuntu
      makes it public
  wharfinger grant add bob push,delete ann/app
  wharfinger grant add acme+deploy pull 'acme/**'"
)]
struct Add {
    /// The subject: a user, OWNER+ROBOT, ORGANISATION/TEAM, accounts, or everyone
    subject: Subject,

    /// The rights: pull, push, delete, administer, fill; separated by commas
    rights: Rights,

    /// The repositories: a name, or a pattern such as 'acme/*'
    #[arg(value_name = "PATTERN")]
    repositories: Pattern,

    #[command(flatten)]
    options: Options,
}

/// List grants
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wharfinger grant list
  wharfinger grant list --repository official/ubuntu
      all grants that include it, by name or by pattern
  wharfinger grant list --subject everyone
      public repositories")]
struct List {
    /// Only grants to this user, robot, team, accounts or everyone
    #[arg(long, value_name = "SUBJECT", conflicts_with = "repository")]
    subject: Option<Subject>,

    /// Only grants that include this repository, by name or by pattern
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<RepositoryName>,

    #[command(flatten)]
    options: Options,
}

/// Remove a grant
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger grant remove everyone official/ubuntu")]
struct Remove {
    /// The subject of the grant
    subject: Subject,

    /// The repositories, exactly as they were granted
    #[arg(value_name = "PATTERN")]
    repositories: Pattern,

    #[command(flatten)]
    options: Options,
}

impl Row for Grant {
    const COLUMNS: &'static [Column] =
        &[Column::text("SUBJECT"), Column::text("RIGHTS"), Column::text("REPOSITORIES").cut()];

    fn cells(&self) -> Vec<String> {
        vec![self.subject.to_string(), self.rights.to_string(), self.repositories.to_string()]
    }
}

const GRANTS: &str = "/api/v1/grants";

impl GrantCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(command) => command.run().await,
            Command::List(command) => command.run().await,
            Command::Remove(command) => command.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let Self { subject, rights, repositories, options } = self;
        let line = format!("{subject} may {rights} on {repositories}");
        let grant = NewGrant { subject, rights, repositories };
        options.put(GRANTS, Some(&grant)).await?;
        options.print(&grant, line)
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let subject = self.subject.map(|subject| ("subject", subject.to_string()));
        let repository = self.repository.map(|repository| ("repository", repository.to_string()));
        let filter = subject.or(repository);
        let filters: Vec<(&str, &str)> = filter.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.options.list::<Grants>(GRANTS, &filters).await
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        let Self { subject, repositories, options } = self;
        let (subject, repositories) = (subject.to_string(), repositories.to_string());
        let query = [("subject", subject.as_str()), ("repositories", repositories.as_str())];
        options.target.with(async |registry| registry.delete(GRANTS, &query).await).await?;
        options.print(
            &json!({ "removed": [{ "subject": subject, "repositories": repositories }] }),
            format_args!("{subject} is no longer granted anything on {repositories}"),
        )
    }
}
