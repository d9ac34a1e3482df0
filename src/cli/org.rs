//! `wharfinger org`: organisations and their members.

use accounts::{AccountName, Role};
use api::{Member, MemberRole, Members, NewOrganisation, Organisation, OrganisationChange, Organisations};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::connection::{Target, segment};
use super::output::{self, Column, Failure, Format, Row};
use super::user;

/// Organisations: users who share repositories, each with a role
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct OrganisationCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
An organisation owns the repositories below its name, as acme owns acme/app. Its members may do with them what their \
role says: a reader pulls, a writer pushes as well, a maintainer also deletes, an owner does everything and says who \
the members are. There is always an owner.

Examples:
  wharfinger org add acme --owner ann
  wharfinger org member set acme bob writer
  wharfinger org member list acme

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    List(List),
    Show(Show),
    Change(Change),
    Remove(Remove),
    /// The members of an organisation
    #[command(subcommand)]
    Member(MemberCommand),
}

/// Make an organisation
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger org add acme --owner ann --description 'Acme Inc.'")]
struct Add {
    /// The name: a-z and 0-9, joined by . _ or -
    name: AccountName,

    /// The first owner [default: your own account, with --server]
    #[arg(long, value_name = "USER")]
    owner: Option<AccountName>,

    /// A description for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// List the organisations
#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Show one organisation
#[derive(Args, Debug)]
struct Show {
    /// The organisation
    name: AccountName,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Change the description of an organisation
#[derive(Args, Debug)]
struct Change {
    /// The organisation
    name: AccountName,

    /// A description for people
    #[arg(long, value_name = "TEXT")]
    description: String,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Remove an organisation, with its teams and robots
#[derive(Args, Debug)]
#[command(after_help = "\
Images stay. An organisation with repositories below the name is not removed, because the next owner of that name \
would own them: remove them first (`wharfinger rm --all`), or use --force.

Example:
  wharfinger org remove acme")]
struct Remove {
    /// The organisation
    name: AccountName,

    /// Remove it even if there are repositories below its name
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// Make a user a member, or change what a member may do
    #[command(after_help = "Example:\n  wharfinger org member set acme bob writer")]
    Set {
        /// The organisation
        organisation: AccountName,
        /// The user
        user: AccountName,
        /// reader (pulls), writer (pushes as well), maintainer (also deletes) or owner (everything)
        role: Role,
        #[command(flatten)]
        place: Target,
        #[command(flatten)]
        format: Format,
    },
    /// Remove a member from the organisation and its teams
    #[command(after_help = "Example:\n  wharfinger org member remove acme bob")]
    Remove {
        /// The organisation
        organisation: AccountName,
        /// The user
        user: AccountName,
        #[command(flatten)]
        place: Target,
        #[command(flatten)]
        format: Format,
    },
    /// List the members
    List {
        /// The organisation
        organisation: AccountName,
        #[command(flatten)]
        place: Target,
        #[command(flatten)]
        format: Format,
    },
}

impl Row for Organisation {
    const COLUMNS: &'static [Column] =
        &[Column::text("ORGANISATION"), Column::text("DESCRIPTION").optional()];

    fn cells(&self) -> Vec<String> {
        vec![self.name.to_string(), self.description.clone()]
    }
}

impl Row for Member {
    const COLUMNS: &'static [Column] = &[Column::text("USER"), Column::text("ROLE")];

    fn cells(&self) -> Vec<String> {
        vec![self.user.to_string(), self.role.to_string()]
    }
}

/// The path of an organisation.
pub(super) fn path(name: &AccountName) -> String {
    format!("/api/v1/organisations/{}", segment(name))
}

impl OrganisationCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(command) => command.run().await,
            Command::List(command) => command.run().await,
            Command::Show(command) => command.run().await,
            Command::Change(command) => command.run().await,
            Command::Remove(command) => command.run().await,
            Command::Member(command) => command.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let organisation =
            NewOrganisation { name: self.name, owner: self.owner, description: self.description };
        let made = self.place.with(async |registry| {
            registry.ask(registry.request(Method::POST, "/api/v1/organisations").json(&organisation)).await
        });
        let made: Organisation = made.await?;
        if self.format.json {
            return output::print_json(&made);
        }
        let name = &made.name;
        output::print(format_args!("made the organisation {name}, which owns the repositories {name}/…\n"))
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let list = self
            .place
            .with(async |registry| registry.list::<Organisations>("/api/v1/organisations", &[]).await);
        output::print_list(self.format, &list.await?)
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let path = path(&self.name);
        let found = self.place.with(async |registry| registry.get::<Organisation>(&path).await).await?;
        show(self.format, found)
    }
}

impl Change {
    async fn run(self) -> Result<(), Failure> {
        let change = OrganisationChange { description: self.description };
        let path = path(&self.name);
        let changed = self
            .place
            .with(async |registry| registry.ask(registry.request(Method::PATCH, &path).json(&change)).await);
        show::<Organisation>(self.format, changed.await?)
    }
}

/// Prints one thing: a table of one line, or JSON.
pub(super) fn show<T: Row + serde::Serialize>(format: Format, thing: T) -> Result<(), Failure> {
    if format.json { output::print_json(&thing) } else { output::print_list(format, &[thing]) }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        user::remove(&self.place, &path(&self.name), self.force, &self.name, self.format).await
    }
}

impl MemberCommand {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Set { organisation, user, role, place, format } => {
                let path = format!("{}/members/{}", path(&organisation), segment(&user));
                place
                    .with(async |registry| {
                        let request = registry.request(Method::PUT, &path).json(&MemberRole { role });
                        registry.send(request).await.map(drop)
                    })
                    .await?;
                if format.json {
                    return output::print_json(&json!({ "user": user, "role": role }));
                }
                output::print(format_args!("{user} is a member of {organisation}: {role}\n"))
            }
            Self::Remove { organisation, user, place, format } => {
                let path = format!("{}/members/{}", path(&organisation), segment(&user));
                user::remove(&place, &path, false, &user, format).await
            }
            Self::List { organisation, place, format } => {
                let path = format!("{}/members", path(&organisation));
                let members = place.with(async |registry| registry.list::<Members>(&path, &[]).await);
                output::print_list(format, &members.await?)
            }
        }
    }
}
