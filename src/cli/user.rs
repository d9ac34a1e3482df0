//! `wharfinger user`: who may sign in.

use std::time::{Duration, UNIX_EPOCH};

use accounts::AccountName;
use api::{Me, NewUser, Secret, User, UserChange, Users};
use clap::{Args, Subcommand};
use reqwest::Method;

use super::connection::{Connection, Target, segment};
use super::output::{self, Column, Failure, Format, Row};
use super::token;

/// Users: people who can log in
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct UserCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
As soon as there is a user, everything is private unless it is granted, and each user owns the repositories below the \
own name: ann owns ann/app. Make the first user an administrator, who manages the others.

Examples:
  wharfinger user add admin --admin
      asks for the password; before the registry first runs, or while it runs
  wharfinger user add ann --password-stdin < password.txt
  wharfinger user password ann
  wharfinger user change ann --disable

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    List(List),
    Show(Show),
    Change(Change),
    Password(Password),
    Remove(Remove),
}

/// Make a user
#[derive(Args, Debug)]
#[command(after_help = ADD_HELP)]
struct Add {
    /// The name: a-z and 0-9, joined by . _ or -; the user owns the repositories below it
    name: AccountName,

    /// Make the user an administrator, who may do everything
    #[arg(long)]
    admin: bool,

    /// A description for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

const ADD_HELP: &str = "\
The password is asked for at the terminal, or read from standard input with --password-stdin. It is never an argument: \
others on this machine could read it there. A data directory that is not there yet is made.

With --server and --user, the first line of standard input is the password to sign in with, the second the new one.

Examples:
  wharfinger user add admin --admin --data /srv/registry
  echo \"$PASSWORD\" | wharfinger user add ann --password-stdin
  wharfinger user add ann --server https://registry.example.com --user admin";

/// List the users
#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Show a user, or your own account
#[derive(Args, Debug)]
struct Show {
    /// The user [default: your own account]
    name: Option<AccountName>,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Change a user; only what is named changes
#[derive(Args, Debug)]
#[command(after_help = "\
A disabled user can do nothing, with a password or a token. The last administrator stays one.

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

    /// Disable the user
    #[arg(long, conflicts_with = "enable")]
    disable: bool,

    /// Enable the user again
    #[arg(long)]
    enable: bool,

    /// A description for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Change the password of a user
#[derive(Args, Debug)]
#[command(after_help = "\
It is asked for at the terminal, or read from standard input with --password-stdin. Logins with the old \
password end. Personal tokens stay valid: programs use them. Revoke them with `wharfinger token remove \
--account NAME --all`. The password of a user of an htpasswd file is changed in that file.

Examples:
  wharfinger user password ann
  echo \"$PASSWORD\" | wharfinger user password ann --password-stdin")]
struct Password {
    /// The user
    name: AccountName,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
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
    place: Target,

    #[command(flatten)]
    format: Format,
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

/// When an account was last seen, for people.
pub(super) fn last_seen(seconds: Option<u64>) -> String {
    seconds.map_or("never".to_owned(), |at| output::human_age(UNIX_EPOCH + Duration::from_secs(at)))
}

/// The path of a user.
pub(super) fn path(name: &AccountName) -> String {
    format!("/api/v1/users/{}", segment(name))
}

/// Who this command is to the registry.
pub(super) async fn me(registry: &Connection) -> Result<Me, Failure> {
    registry.get("/api/v1/me").await
}

impl UserCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(command) => command.run().await,
            Command::List(command) => command.run().await,
            Command::Show(command) => command.run().await,
            Command::Change(command) => command.run().await,
            Command::Password(command) => command.run().await,
            Command::Remove(command) => command.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let credentials = self.place.credentials()?;
        // Asked for before the data directory is taken: nobody else should wait for someone to type.
        let password = self.place.passwords().chosen(&format!("Password for {}: ", self.name))?;
        let registry = self.place.connect_or_make(credentials).await?;
        let user = NewUser {
            name: self.name,
            password: Secret::new(password.reveal()),
            administrator: self.admin,
            description: self.description,
        };
        let made = registry.ask::<User>(registry.request(Method::POST, "/api/v1/users").json(&user)).await;
        registry.close().await;
        let made = made?;
        if self.format.json {
            return output::print_json(&made);
        }
        let name = &made.name;
        output::print(match (made.administrator, name.has_namespace()) {
            (true, _) => format!("made the administrator {name}, who may do everything\n"),
            (false, true) => format!("made the user {name}, who owns the repositories {name}/…\n"),
            (false, false) => format!("made the user {name}, who owns no repositories\n"),
        })
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let users = self.place.with(async |registry| registry.list::<Users>("/api/v1/users", &[]).await);
        output::print_list(self.format, &users.await?)
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let Some(name) = &self.name else {
            let me = self.place.with(me).await?;
            return if self.format.json { output::print_json(&me) } else { output::print(describe(&me)) };
        };
        let user = self.place.with(async |registry| registry.get::<User>(&path(name)).await).await?;
        if self.format.json { output::print_json(&user) } else { output::print_list(self.format, &[user]) }
    }
}

/// Who somebody is, for people.
fn describe(me: &Me) -> String {
    use api::MeKind;
    let name = me.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let who = match me.kind {
        MeKind::Operator => "the operator, who may do everything".to_owned(),
        MeKind::Anonymous => "anonymous: not logged in".to_owned(),
        MeKind::User if me.administrator => format!("the administrator {name}, who may do everything"),
        MeKind::User => format!("the user {name}"),
        MeKind::Robot => format!("the robot {name}"),
    };
    let accounts = if me.accounts_in_force { "" } else { "the registry has no accounts: it is open\n" };
    format!("{who}\n{accounts}")
}

impl Change {
    async fn run(self) -> Result<(), Failure> {
        let change = UserChange {
            password: None,
            administrator: either(self.admin, self.no_admin),
            disabled: either(self.disable, self.enable),
            description: self.description,
        };
        if change == UserChange::default() {
            return Err(Failure::usage("nothing to change")
                .help("give --admin, --no-admin, --disable, --enable or --description TEXT"));
        }
        let path = path(&self.name);
        let changed = self
            .place
            .with(async |registry| registry.ask(registry.request(Method::PATCH, &path).json(&change)).await);
        let changed: User = changed.await?;
        if self.format.json {
            return output::print_json(&changed);
        }
        output::print_list(self.format, &[changed])
    }
}

/// What one of two flags that contradict each other says, if one is there.
pub(super) fn either(yes: bool, no: bool) -> Option<bool> {
    (yes || no).then_some(yes)
}

impl Password {
    async fn run(self) -> Result<(), Failure> {
        let credentials = self.place.credentials()?;
        let password = self.place.passwords().chosen(&format!("New password for {}: ", self.name))?;
        let change = UserChange { password: Some(Secret::new(password.reveal())), ..UserChange::default() };
        let registry = self.place.connect_with(credentials).await?;
        let request = registry.request(Method::PATCH, &path(&self.name)).json(&change);
        let changed = registry.ask::<User>(request).await;
        // The user's own old password is good for nothing any more: then tokens are not to be counted.
        let tokens = token::ids(&registry, &format!("{}/tokens", path(&self.name))).await;
        registry.close().await;
        let changed = changed?;
        if self.format.json {
            return output::print_json(&changed);
        }
        output::print(format_args!("{} has a new password\n", self.name))?;
        let stay = match tokens.map(|ids| ids.len()) {
            Ok(0) => return Ok(()),
            Ok(1) => "1 personal token stays".to_owned(),
            Ok(count) => format!("{count} personal tokens stay"),
            Err(_) => "personal tokens, if there are any, stay".to_owned(),
        };
        output::remark(format!(
            "{stay} valid; revoke all of them with\n  wharfinger token remove --account {} --all\n",
            self.name
        ));
        Ok(())
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        remove(&self.place, &path(&self.name), self.force, &self.name, self.format).await
    }
}

/// Removes what has a path, and says so.
pub(super) async fn remove(
    place: &Target,
    path: &str,
    force: bool,
    name: &impl ToString,
    format: Format,
) -> Result<(), Failure> {
    let name = name.to_string();
    place
        .with(async |registry| {
            let mut request = registry.request(Method::DELETE, path);
            if force {
                request = request.query(&[("force", "true")]);
            }
            registry.send(request).await.map(drop)
        })
        .await?;
    if format.json {
        output::print_json(&serde_json::json!({ "removed": [name] }))
    } else {
        output::print(format_args!("removed {name}\n"))
    }
}
