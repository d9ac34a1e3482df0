//! `wharfinger grant`: who may do what with which repositories.

use accounts::{Pattern, Rights, Subject};
use api::{Grant, Grants, NewGrant};
use clap::{Args, Subcommand};
use oci::RepositoryName;
use reqwest::Method;
use serde_json::json;

use super::connection::Target;
use super::output::{self, Column, Failure, Format, Row};

/// Grants: rights on repositories for users, robots, teams or everyone
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct GrantCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Repositories are private: users have those below the own name, members of an organisation what their role says, and \
administrators all. A grant gives more, to
  ann            a user
  acme+deploy    a robot
  acme/devs      a team
  accounts       everyone with an account
  everyone       everyone, also without an account: public

Rights are pull, push, delete and administer, several with commas; push and delete include pull, administer \
everything. In a pattern * stands for characters other than /, ** for any characters, ? for one.

Examples:
  wharfinger grant add everyone pull official/ubuntu
      public: pulled without an account
  wharfinger grant add acme/devs push 'official/*'
  wharfinger grant list --repository official/ubuntu
  wharfinger grant remove everyone official/ubuntu

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Grant rights; they replace those that the same subject had on the same repositories
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

    /// The rights: pull, push, delete, administer; several with commas
    rights: Rights,

    /// The repositories: a name, or a pattern such as 'acme/*'
    #[arg(value_name = "PATTERN")]
    repositories: Pattern,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// List grants
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wharfinger grant list
  wharfinger grant list --repository official/ubuntu
      who has been given something on it, by name or by pattern
  wharfinger grant list --subject everyone
      what is public")]
struct List {
    /// Only grants to this user, robot, team, accounts or everyone
    #[arg(long, value_name = "SUBJECT", conflicts_with = "repository")]
    subject: Option<Subject>,

    /// Only grants that include this repository, by name or by pattern
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<RepositoryName>,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
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
    place: Target,

    #[command(flatten)]
    format: Format,
}

impl Row for Grant {
    const COLUMNS: &'static [Column] =
        &[Column::text("SUBJECT"), Column::text("RIGHTS"), Column::text("REPOSITORIES").cut()];

    fn cells(&self) -> Vec<String> {
        vec![self.subject.to_string(), self.rights.to_string(), self.repositories.to_string()]
    }
}

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
        let grant = NewGrant { subject: self.subject, rights: self.rights, repositories: self.repositories };
        self.place
            .with(async |registry| {
                registry.send(registry.request(Method::PUT, "/api/v1/grants").json(&grant)).await.map(drop)
            })
            .await?;
        if self.format.json {
            return output::print_json(&grant);
        }
        let NewGrant { subject, rights, repositories } = grant;
        output::print(format_args!("{subject} may {rights} on {repositories}\n"))
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let subject = self.subject.map(|subject| ("subject", subject.to_string()));
        let repository = self.repository.map(|repository| ("repository", repository.to_string()));
        let filter = subject.or(repository);
        let filters: Vec<(&str, &str)> = filter.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let grants =
            self.place.with(async |registry| registry.list::<Grants>("/api/v1/grants", &filters).await);
        output::print_list(self.format, &grants.await?)
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        let (subject, repositories) = (self.subject.to_string(), self.repositories.to_string());
        let query = [("subject", &subject), ("repositories", &repositories)];
        self.place
            .with(async |registry| {
                let request = registry.request(Method::DELETE, "/api/v1/grants").query(&query);
                registry.send(request).await.map(drop)
            })
            .await?;
        if self.format.json {
            return output::print_json(
                &json!({ "removed": [{ "subject": subject, "repositories": repositories }] }),
            );
        }
        output::print(format_args!("{subject} is no longer granted anything on {repositories}\n"))
    }
}
