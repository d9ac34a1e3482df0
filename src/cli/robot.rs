//! `wharfinger robot`: accounts for programs.

use accounts::AccountName;
use api::{NewRobot, Robot, RobotChange, RobotSecret, Robots};
use clap::{Args, Subcommand};
use reqwest::Method;

use super::connection::{Target, segment};
use super::org::show;
use super::output::{self, Column, Failure, Format, Row};
use super::user::{self, either, last_seen};

/// Robots: accounts for programs, with the rights that are granted to them
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct RobotCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
A robot belongs to a user or an organisation and is called OWNER+NAME. It signs in with that name and a secret, which \
is shown when it is made and never again. It owns no repositories: give it a grant.

Examples:
  wharfinger robot add acme+deploy
  wharfinger grant add acme+deploy pull 'acme/**'
  wharfinger robot secret acme+deploy |
    docker login -u acme+deploy --password-stdin localhost:5000

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    List(List),
    Show(Named),
    Change(Change),
    Secret(Secret),
    Remove(Remove),
}

/// Make a robot and print its secret
#[derive(Args, Debug)]
#[command(after_help = "\
The secret alone goes to standard output.

Examples:
  wharfinger robot add acme+deploy
  wharfinger robot add ann+ci --description 'builds at night' > secret.txt")]
struct Add {
    /// The robot: OWNER+NAME
    name: AccountName,

    /// A description for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// List the robots
#[derive(Args, Debug)]
struct List {
    /// Only those of this user or organisation
    owner: Option<AccountName>,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Show one robot
#[derive(Args, Debug)]
struct Named {
    /// The robot: OWNER+NAME
    name: AccountName,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Change a robot; only what is named changes
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger robot change acme+deploy --disable")]
struct Change {
    /// The robot: OWNER+NAME
    name: AccountName,

    /// Disable the robot
    #[arg(long, conflicts_with = "enable")]
    disable: bool,

    /// Enable the robot again
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

/// Replace the secret of a robot and print the new one; the old one stops working
#[derive(Args, Debug)]
#[command(after_help = "\
The secret alone goes to standard output.

Example:
  wharfinger robot secret acme+deploy > secret.txt")]
struct Secret {
    /// The robot: OWNER+NAME
    name: AccountName,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

/// Remove a robot and its grants
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger robot remove acme+deploy")]
struct Remove {
    /// The robot: OWNER+NAME
    name: AccountName,

    #[command(flatten)]
    place: Target,

    #[command(flatten)]
    format: Format,
}

impl Row for Robot {
    const COLUMNS: &'static [Column] = &[
        Column::text("ROBOT"),
        Column::text("STATE"),
        Column::text("LAST SEEN").optional(),
        Column::text("DESCRIPTION").optional(),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            if self.disabled { "disabled" } else { "" }.to_owned(),
            last_seen(self.last_seen_at),
            self.description.clone(),
        ]
    }
}

fn path(name: &AccountName) -> String {
    format!("/api/v1/robots/{}", segment(name))
}

impl RobotCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(command) => command.run().await,
            Command::List(command) => command.run().await,
            Command::Show(command) => command.run().await,
            Command::Change(command) => command.run().await,
            Command::Secret(command) => command.run().await,
            Command::Remove(command) => command.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let robot = NewRobot { name: self.name, description: self.description };
        let made = self.place.with(async |registry| {
            registry.ask(registry.request(Method::POST, "/api/v1/robots").json(&robot)).await
        });
        tell(self.format, &made.await?)
    }
}

impl Secret {
    async fn run(self) -> Result<(), Failure> {
        let path = format!("{}/secret", path(&self.name));
        let made = self.place.with(async |registry| registry.ask(registry.request(Method::PUT, &path)).await);
        tell(self.format, &made.await?)
    }
}

/// Prints a secret that cannot be had again.
fn tell(format: Format, made: &RobotSecret) -> Result<(), Failure> {
    if format.json {
        return output::print_json(made);
    }
    let name = &made.name;
    output::remark(format_args!(
        "the secret of {name}, shown this once; to log in with it:\n  \
         docker login -u {name} --password-stdin REGISTRY\n"
    ));
    output::print(format_args!("{}\n", made.secret.reveal()))
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let owner = self.owner.as_ref().map(AccountName::as_str);
        let filters: Vec<(&str, &str)> = owner.map(|owner| ("owner", owner)).into_iter().collect();
        let robots =
            self.place.with(async |registry| registry.list::<Robots>("/api/v1/robots", &filters).await);
        output::print_list(self.format, &robots.await?)
    }
}

impl Named {
    async fn run(self) -> Result<(), Failure> {
        let path = path(&self.name);
        show(self.format, self.place.with(async |registry| registry.get::<Robot>(&path).await).await?)
    }
}

impl Change {
    async fn run(self) -> Result<(), Failure> {
        let change =
            RobotChange { disabled: either(self.disable, self.enable), description: self.description };
        if change == RobotChange::default() {
            return Err(
                Failure::usage("nothing to change").help("give --disable, --enable or --description TEXT")
            );
        }
        let path = path(&self.name);
        let changed = self
            .place
            .with(async |registry| registry.ask(registry.request(Method::PATCH, &path).json(&change)).await);
        show::<Robot>(self.format, changed.await?)
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        user::remove(&self.place, &path(&self.name), false, &self.name, self.format).await
    }
}
