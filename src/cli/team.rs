//! `wharfinger team`: the teams of organisations.

use std::fmt;
use std::str::FromStr;

use accounts::{AccountName, Subject, TeamName};
use api::{Team, TeamMembers, Teams};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Serialize;

use super::connection::{Target, segment};
use super::org;
use super::output::{self, Column, Failure, Format, Row};
use super::user;

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

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a team
    #[command(after_help = "Example:\n  wharfinger team add acme/devs")]
    Add(Named),
    /// List the teams of an organisation
    List {
        /// The organisation
        organisation: AccountName,
        #[command(flatten)]
        place: Target,
        #[command(flatten)]
        format: Format,
    },
    /// Remove a team and its grants
    #[command(after_help = "Example:\n  wharfinger team remove acme/devs")]
    Remove(Named),
    /// The members of a team
    #[command(subcommand)]
    Member(MemberCommand),
}

#[derive(Args, Debug)]
struct Named {
    /// The team: ORGANISATION/TEAM
    team: TeamReference,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
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
    List(Named),
}

#[derive(Args, Debug)]
struct Membership {
    /// The team: ORGANISATION/TEAM
    team: TeamReference,

    /// The user
    user: AccountName,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// A team as it is named outside its organisation: `acme/devs`.
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
}

/// A team, as it is printed.
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

/// A member of a team, as it is printed.
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

impl TeamCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(Named { team, place, format }) => {
                put(&place, &team.path()).await?;
                if format.json {
                    return output::print_json(&Line { team: team.to_string(), members: 0 });
                }
                output::print(format_args!("made the team {team}\n"))
            }
            Command::List { organisation, place, format } => {
                let path = format!("{}/teams", org::path(&organisation));
                let teams = place.with(async |registry| registry.list::<Teams>(&path, &[]).await).await?;
                let line = |Team { name, members, .. }: Team| Line {
                    team: format!("{organisation}/{name}"),
                    members,
                };
                output::print_list(format, &teams.into_iter().map(line).collect::<Vec<_>>())
            }
            Command::Remove(Named { team, place, format }) => {
                user::remove(&place, &team.path(), false, &team, format).await
            }
            Command::Member(command) => command.run().await,
        }
    }
}

impl MemberCommand {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(Membership { team, user, place, format }) => {
                put(&place, &format!("{}/members/{}", team.path(), segment(&user))).await?;
                if format.json {
                    return output::print_json(&MemberLine { user });
                }
                output::print(format_args!("{user} is in the team {team}\n"))
            }
            Self::Remove(Membership { team, user, place, format }) => {
                let path = format!("{}/members/{}", team.path(), segment(&user));
                user::remove(&place, &path, false, &user, format).await
            }
            Self::List(Named { team, place, format }) => {
                let path = format!("{}/members", team.path());
                let members = place.with(async |registry| registry.list::<TeamMembers>(&path, &[]).await);
                let lines: Vec<MemberLine> =
                    members.await?.into_iter().map(|user| MemberLine { user }).collect();
                output::print_list(format, &lines)
            }
        }
    }
}

async fn put(place: &Target, path: &str) -> Result<(), Failure> {
    place.with(async |registry| registry.send(registry.request(Method::PUT, path)).await.map(drop)).await
}
