//! `wharfinger org`: organisations and their members.

use accounts::{AccountName, Role};
use api::{Member, MemberRole, Members, NewOrganisation, Organisation, OrganisationChange, Organisations};
use clap::{Args, Subcommand};
use serde_json::json;

use super::connection::segment;
use super::manage::{Description, Options};
use super::output::{Column, Failure, Row};

/// Organisations: users who share repositories, each with a role
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct OrganisationCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
An organisation owns the repositories below its name: acme owns acme/app. The role of a member decides the member's \
rights on them: a reader pulls, a writer also pushes, a maintainer also deletes, an owner has all rights and manages \
the members. There is always at least one owner.

Examples:
  wharfinger org add acme --owner ann
  wharfinger org member set acme bob writer
  wharfinger org member list acme

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    /// List the organisations
    #[command(visible_alias = "ls")]
    List(Options),
    /// Show an organisation
    Show(Named),
    Change(Change),
    Remove(Remove),
    /// Manage the members of an organisation
    #[command(subcommand)]
    Member(MemberCommand),
}

/// Create an organisation
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger org add acme --owner ann --description 'Acme Inc.'")]
struct Add {
    /// The name: a-z and 0-9, joined by . _ or -
    name: AccountName,

    /// The first owner [default: your own account, with --server]
    #[arg(long, value_name = "USER")]
    owner: Option<AccountName>,

    #[command(flatten)]
    description: Description,

    #[command(flatten)]
    options: Options,
}

#[derive(Args, Debug)]
struct Named {
    /// The organisation
    name: AccountName,

    #[command(flatten)]
    options: Options,
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
    options: Options,
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
    options: Options,
}

#[derive(Debug, Subcommand)]
enum MemberCommand {
    /// Add a user as a member, or change the role of a member
    #[command(after_help = "Example:\n  wharfinger org member set acme bob writer")]
    Set {
        #[command(flatten)]
        member: Membership,
        /// reader (pulls), writer (also pushes), maintainer (also deletes) or owner (all rights)
        role: Role,
        #[command(flatten)]
        options: Options,
    },
    /// Remove a member from the organisation and its teams
    #[command(after_help = "Example:\n  wharfinger org member remove acme bob")]
    Remove {
        #[command(flatten)]
        member: Membership,
        #[command(flatten)]
        options: Options,
    },
    /// List the members
    #[command(visible_alias = "ls")]
    List {
        /// The organisation
        organisation: AccountName,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Args, Debug)]
struct Membership {
    /// The organisation
    organisation: AccountName,
    /// The user
    user: AccountName,
}

impl Membership {
    fn path(&self) -> String {
        format!("{}/members/{}", path(&self.organisation), segment(&self.user))
    }
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

const ORGANISATIONS: &str = "/api/v1/organisations";

/// The API path of an organisation.
pub(super) fn path(name: &AccountName) -> String {
    format!("{ORGANISATIONS}/{}", segment(name))
}

impl OrganisationCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(Add { name, owner, description, options }) => {
                let new = NewOrganisation { name, owner, description: description.description };
                let organisation: Organisation = options.create(ORGANISATIONS, &new).await?;
                let name = &organisation.name;
                let line = format!("made the organisation {name}, which owns the repositories {name}/…");
                options.print(&organisation, line)
            }
            Command::List(options) => options.list::<Organisations>(ORGANISATIONS, &[]).await,
            Command::Show(Named { name, options }) => options.show::<Organisation>(&path(&name)).await,
            Command::Change(Change { name, description, options }) => {
                options.change::<Organisation>(&path(&name), &OrganisationChange { description }).await
            }
            Command::Remove(Remove { name, force, options }) => {
                options.remove(&path(&name), force, &name).await
            }
            Command::Member(command) => command.run().await,
        }
    }
}

impl MemberCommand {
    async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Set { member, role, options } => {
                options.put(&member.path(), Some(&MemberRole { role })).await?;
                let Membership { organisation, user } = member;
                let line = format!("{user} is a member of {organisation}: {role}");
                options.print(&json!({ "user": user, "role": role }), line)
            }
            Self::Remove { member, options } => options.remove(&member.path(), false, &member.user).await,
            Self::List { organisation, options } => {
                options.list::<Members>(&format!("{}/members", path(&organisation)), &[]).await
            }
        }
    }
}
