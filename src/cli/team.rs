//! `wharfinger team`: the teams of organisations.

use std::fmt;
use std::str::FromStr;

use accounts::{AccountName, Subject, TeamName};
use api::{Team, TeamMembers, Teams};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::connection::segment;
use super::manage::Options;
use super::org;
use super::output::{Column, Failure, Row};

/// Teams: members of an organisation who share grants
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct TeamCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
A team by itself gives no right; a grant to it does.

Examples:
  wharfinger team add acme/devs
  wharfinger team member add acme/devs bob
  wharfinger grant add acme/devs push 'official/*'

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a team
    #[command(after_help = "Example:\n  wharfinger team add acme/devs")]
    Add(Named),
    /// List the teams of an organisation
    #[command(visible_alias = "ls")]
    List {
        /// The organisation
        organisation: AccountName,
        #[command(flatten)]
        options: Options,
    },
    /// Remove a team and its grants
    #[command(after_help = "Example:\n  wharfinger team remove acme/devs")]
    Remove(Named),
    /// Manage the members of a team
    #[command(subcommand)]
    Member(MemberCommand),
}

#[derive(Args, Debug)]
struct Named {
    /// The team: ORGANISATION/TEAM
    team: TeamReference,

    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// Add a member of the organisation to the team
    #[command(after_help = "Example:\n  wharfinger team member add acme/devs bob")]
    Add(Membership),
    /// Remove a user from the team
    #[command(after_help = "Example:\n  wharfinger team member remove acme/devs bob")]
    Remove(Membership),
    /// List the members of the team
    #[command(visible_alias = "ls")]
    List(Named),
}

#[derive(Args, Debug)]
struct Membership {
    /// The team: ORGANISATION/TEAM
    team: TeamReference,

    /// The user
    user: AccountName,

    #[command(flatten)]
    options: Options,
}

/// The full name of a team: `acme/devs`.
#[derive(Clone, Debug)]
struct TeamReference {
    organisation: AccountName,
    team: TeamName,
}

impl FromStr for TeamReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Subject::Team(organisation, team)) => Ok(Self { organisation, team }),
            Ok(_) => Err("a team is named with its organisation, as in acme/devs".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Display for TeamReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.organisation, self.team)
    }
}

impl TeamReference {
    fn path(&self) -> String {
        format!("{}/teams/{}", org::path(&self.organisation), self.team)
    }

    fn member_path(&self, user: &AccountName) -> String {
        format!("{}/members/{}", self.path(), segment(user))
    }
}

/// The printed form of a team.
#[derive(Serialize)]
struct Line {
    team: String,
    members: u64,
}

impl Row for Line {
    const COLUMNS: &'static [Column] = &[Column::text("TEAM"), Column::number("MEMBERS")];

    fn cells(&self) -> Vec<String> {
        vec![self.team.clone(), self.members.to_string()]
    }
}

/// The printed form of a team member.
#[derive(Serialize)]
struct MemberLine {
    user: AccountName,
}

impl Row for MemberLine {
    const COLUMNS: &'static [Column] = &[Column::text("USER")];

    fn cells(&self) -> Vec<String> {
        vec![self.user.to_string()]
    }
}

/// The body of a PUT that has none.
const NO_BODY: Option<&()> = None;

impl TeamCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(Named { team, options }) => {
                options.put(&team.path(), NO_BODY).await?;
                options
                    .print(&Line { team: team.to_string(), members: 0 }, format_args!("made the team {team}"))
            }
            Command::List { organisation, options } => {
                let path = format!("{}/teams", org::path(&organisation));
                let teams = options.target.with(async |registry| registry.list::<Teams>(&path, &[]).await);
                let line = |Team { name, members, .. }: Team| Line {
                    team: format!("{organisation}/{name}"),
                    members,
                };
                options.print_list(&teams.await?.into_iter().map(line).collect::<Vec<_>>())
            }
            Command::Remove(Named { team, options }) => options.remove(&team.path(), false, &team).await,
            Command::Member(command) => command.run().await,
        }
    }
}

impl MemberCommand {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(Membership { team, user, options }) => {
                options.put(&team.member_path(&user), NO_BODY).await?;
                let line = format!("{user} is in the team {team}");
                options.print(&MemberLine { user }, line)
            }
            Self::Remove(Membership { team, user, options }) => {
                options.remove(&team.member_path(&user), false, &user).await
            }
            Self::List(Named { team, options }) => {
                let path = format!("{}/members", team.path());
                let users =
                    options.target.with(async |registry| registry.list::<TeamMembers>(&path, &[]).await);
                let lines: Vec<_> = users.await?.into_iter().map(|user| MemberLine { user }).collect();
                options.print_list(&lines)
            }
        }
    }
}
