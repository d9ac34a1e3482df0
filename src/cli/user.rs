//! `wharfinger user`: accounts of people.

use accounts::AccountName;
use api::{Me, MeKind, NewUser, Secret, Tokens, User, UserChange, Users};
use clap::{Args, Subcommand};

use super::connection::{Connection, segment};
use super::manage::{AccountChange, Description, Options, either, last_seen, nothing_to_change};
use super::output::{self, Column, Failure, Row};

/// Users: people who can log in
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct UserCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
As soon as there is a user, repositories are private unless access is granted. Each user owns the repositories below \
the user's own name: ann owns ann/app. Make the first user an administrator, who manages the others.

Examples:
  wharfinger user add admin --admin
      asks for the password; before the first start or while the server runs
  wharfinger user add ann --password-stdin < password.txt
  wharfinger user password ann
  wharfinger user change ann --disable

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    /// List the users
    #[command(visible_alias = "ls")]
    List(Options),
    Show(Show),
    Change(Change),
    Password(Password),
    Remove(Remove),
}

/// Create a user
#[derive(Args, Debug)]
#[command(after_help = ADD_HELP)]
struct Add {
    /// The name: a-z and 0-9, joined by . _ or -; the user owns the repositories below it
    name: AccountName,

    /// Make the user an administrator, who has all rights
    #[arg(long)]
    admin: bool,

    #[command(flatten)]
    description: Description,

    #[command(flatten)]
    options: Options,
}

const ADD_HELP: &str = "\
The password is asked for at the terminal, or read from standard input with --password-stdin. It is never an argument, \
because other users of the machine can read arguments. A data directory that does not exist is created.

With --server and --user, the first line of standard input is the password of the login, the second the new one.

Examples:
  wharfinger user add admin --admin --data /srv/registry
  echo \"$PASSWORD\" | wharfinger user add ann --password-stdin
  wharfinger user add ann --server https://registry.example.com --user admin";

/// Show a user, or your own account
#[derive(Args, Debug)]
struct Show {
    /// The user [default: your own account]
    name: Option<AccountName>,

    #[command(flatten)]
    options: Options,
}

/// Change a user; settings that are not named stay as they are
#[derive(Args, Debug)]
#[command(after_help = "\
A disabled user has no access, with a password or a token. The last administrator cannot be demoted.

Examples:
  wharfinger user change ann --admin
  wharfinger user change ann --disable
  wharfinger user change ann --description 'Ann, build team'")]
struct Change {
    /// The user
    name: AccountName,

    /// Make the user an administrator
    #[arg(long, conflicts_with = "no_admin")]
    admin: bool,

    /// Make the user an ordinary user
    #[arg(long)]
    no_admin: bool,

    #[command(flatten)]
    change: AccountChange,

    #[command(flatten)]
    options: Options,
}

/// Change the password of a user
#[derive(Args, Debug)]
#[command(after_help = "\
The new password is asked for at the terminal, or read from standard input with --password-stdin. Logins with the old \
password end. Personal tokens stay valid, because programs use them. Revoke them with `wharfinger token remove \
--account NAME --all`. Passwords of users in an htpasswd file are changed in that file.

Examples:
  wharfinger user password ann
  echo \"$PASSWORD\" | wharfinger user password ann --password-stdin")]
struct Password {
    /// The user
    name: AccountName,

    #[command(flatten)]
    options: Options,
}

/// Remove a user, with their tokens, robots, memberships and grants
#[derive(Args, Debug)]
#[command(after_help = "\
Images stay. A user with repositories below the name is not removed, because the next user of that name would own \
them: remove them first (`wharfinger rm --all`), or use --force.

Example:
  wharfinger user remove ann")]
struct Remove {
    /// The user
    name: AccountName,

    /// Remove the user even if there are repositories below the name
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    options: Options,
}

impl Row for User {
    const COLUMNS: &'static [Column] = &[
        Column::text("USER"),
        Column::text("MAY"),
        Column::text("FROM"),
        Column::text("LAST SEEN").optional(),
        Column::text("DESCRIPTION").optional(),
    ];

    fn cells(&self) -> Vec<String> {
        let may = match self {
            Self { disabled: true, .. } => "nothing: disabled",
            Self { administrator: true, .. } => "everything",
            _ => "",
        };
        vec![
            self.name.to_string(),
            may.to_owned(),
            self.source.to_string(),
            last_seen(self.last_seen_at),
            self.description.clone(),
        ]
    }
}

const USERS: &str = "/api/v1/users";

/// The API path of a user.
pub(super) fn path(name: &AccountName) -> String {
    format!("{USERS}/{}", segment(name))
}

/// The account of the caller.
pub(super) async fn me(registry: &Connection) -> Result<Me, Failure> {
    registry.get("/api/v1/me").await
}

impl UserCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(command) => command.run().await,
            Command::List(options) => options.list::<Users>(USERS, &[]).await,
            Command::Show(command) => command.run().await,
            Command::Change(command) => command.run().await,
            Command::Password(command) => command.run().await,
            Command::Remove(Remove { name, force, options }) => {
                options.remove(&path(&name), force, &name).await
            }
        }
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let target = &self.options.target;
        let credentials = target.credentials()?;
        // Asks for the password before it locks the data directory, because typing takes time.
        let password = target.passwords().chosen(&format!("Password for {}: ", self.name))?;
        let is_new = target.makes_directory()?;
        let registry = target.connect_or_create(credentials).await?;
        let user = NewUser {
            name: self.name,
            password: Secret::new(password.reveal()),
            administrator: self.admin,
            description: self.description.description,
        };
        let created = registry.post(USERS, &user).await;
        registry.close().await;
        let user: User = created?;
        if let Some(directory) = is_new {
            output::remark(format_args!(
                "made the data directory {}, which no server uses yet: wharfinger serve --data {0}\n",
                directory.display()
            ));
        }
        let name = &user.name;
        let line = match (user.administrator, name.has_namespace()) {
            (true, _) => format!("made the administrator {name}, who may do everything"),
            (false, true) => format!("made the user {name}, who owns the repositories {name}/…"),
            (false, false) => format!(
                "made the user {name}, who owns no repositories: names of repositories are in lower case, without the \
                 characters of this name"
            ),
        };
        self.options.print(&user, line)
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        match &self.name {
            Some(name) => self.options.show::<User>(&path(name)).await,
            None => {
                let me = self.options.target.with(me).await?;
                self.options.print(&me, describe(&me))
            }
        }
    }
}

/// Describes the caller, for people.
fn describe(me: &Me) -> String {
    let name = me.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let caller = match me.kind {
        MeKind::Operator => "the operator, who may do everything".to_owned(),
        MeKind::Anonymous => "anonymous: not logged in".to_owned(),
        MeKind::User if me.administrator => format!("the administrator {name}, who may do everything"),
        MeKind::User => format!("the user {name}"),
        MeKind::Robot => format!("the robot {name}"),
    };
    let accounts = if me.accounts_in_force { "" } else { "\nthe registry has no accounts: it is open" };
    format!("{caller}{accounts}")
}

impl Change {
    async fn run(self) -> Result<(), Failure> {
        let change = UserChange {
            password: None,
            administrator: either(self.admin, self.no_admin),
            disabled: self.change.disabled(),
            description: self.change.description,
        };
        if change == UserChange::default() {
            return Err(nothing_to_change("--admin, --no-admin, --disable, --enable or --description TEXT"));
        }
        self.options.change::<User>(&path(&self.name), &change).await
    }
}

impl Password {
    async fn run(self) -> Result<(), Failure> {
        let target = &self.options.target;
        let credentials = target.credentials()?;
        let password = target.passwords().chosen(&format!("New password for {}: ", self.name))?;
        let change = UserChange { password: Some(Secret::new(password.reveal())), ..UserChange::default() };
        let registry = target.connect_with(credentials).await?;
        let path = path(&self.name);
        let changed = registry.patch::<User>(&path, &change).await;
        // Fails if the connection logged in with the password that was just replaced.
        let tokens = registry.list::<Tokens>(&format!("{path}/tokens"), &[]).await;
        registry.close().await;
        self.options.print(&changed?, format_args!("{} has a new password", self.name))?;
        if self.options.json() {
            return Ok(());
        }
        let tokens = match tokens.map(|tokens| tokens.len()) {
            Ok(0) => return Ok(()),
            Ok(1) => "1 personal token stays".to_owned(),
            Ok(count) => format!("{count} personal tokens stay"),
            Err(_) => "personal tokens, if there are any, stay".to_owned(),
        };
        output::remark(format!(
            "{tokens} valid; revoke all of them with\n  wharfinger token remove --account {} --all\n",
            self.name
        ));
        Ok(())
    }
}
