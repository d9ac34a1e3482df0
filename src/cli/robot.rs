//! `wharfinger robot`: accounts for programs.

use accounts::AccountName;
use api::{NewRobot, Robot, RobotChange, RobotSecret, Robots};
use clap::{Args, Subcommand};
use reqwest::Method;

use super::connection::segment;
use super::manage::{AccountChange, Description, Options, last_seen, nothing_to_change};
use super::output::{Column, Failure, Row};

/// Robots: accounts for programs, with the rights that are granted to them
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct RobotCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
A robot belongs to a user or an organisation and is called OWNER+NAME. It logs in with that name and a secret, which \
is shown only when it is created. It owns no repositories: give it a grant.

Examples:
  wharfinger robot add acme+deploy
  wharfinger grant add acme+deploy pull 'acme/**'
  wharfinger robot secret acme+deploy |
    docker login -u acme+deploy --password-stdin localhost:5000

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Add(Add),
    #[command(visible_alias = "ls")]
    List(List),
    /// Show a robot
    Show(Named),
    Change(Change),
    /// Replace the secret of a robot and print the new one; the old one stops working
    #[command(after_help = "\
The secret alone is written to standard output.

Example:
  wharfinger robot secret acme+deploy > secret.txt")]
    Secret(Named),
    /// Remove a robot and its grants
    #[command(after_help = "Example:\n  wharfinger robot remove acme+deploy")]
    Remove(Named),
}

/// Create a robot and print its secret
#[derive(Args, Debug)]
#[command(after_help = "\
The secret alone is written to standard output.

Examples:
  wharfinger robot add acme+deploy
  wharfinger robot add ann+ci --description 'builds at night' > secret.txt")]
struct Add {
    /// The robot: OWNER+NAME
    name: AccountName,

    #[command(flatten)]
    description: Description,

    #[command(flatten)]
    options: Options,
}

/// List the robots
#[derive(Args, Debug)]
struct List {
    /// Only robots of this user or organisation
    owner: Option<AccountName>,

    #[command(flatten)]
    options: Options,
}

#[derive(Args, Debug)]
struct Named {
    /// The robot: OWNER+NAME
    name: AccountName,

    #[command(flatten)]
    options: Options,
}

/// Change a robot; settings that are not named stay as they are
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger robot change acme+deploy --disable")]
struct Change {
    /// The robot: OWNER+NAME
    name: AccountName,

    #[command(flatten)]
    change: AccountChange,

    #[command(flatten)]
    options: Options,
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

const ROBOTS: &str = "/api/v1/robots";

fn path(name: &AccountName) -> String {
    format!("{ROBOTS}/{}", segment(name))
}

impl RobotCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(Add { name, description, options }) => {
                let robot = NewRobot { name, description: description.description };
                let secret = options.create(ROBOTS, &robot).await?;
                print_secret(&options, &secret)
            }
            Command::List(List { owner, options }) => {
                let owner: Vec<_> = owner.iter().map(|owner| ("owner", owner.as_str())).collect();
                options.list::<Robots>(ROBOTS, &owner).await
            }
            Command::Show(Named { name, options }) => options.show::<Robot>(&path(&name)).await,
            Command::Change(Change { name, change, options }) => {
                let change = RobotChange { disabled: change.disabled(), description: change.description };
                if change == RobotChange::default() {
                    return Err(nothing_to_change("--disable, --enable or --description TEXT"));
                }
                options.change::<Robot>(&path(&name), &change).await
            }
            Command::Secret(Named { name, options }) => {
                let path = format!("{}/secret", path(&name));
                let secret = options
                    .target
                    .with(async |registry| registry.json(registry.request(Method::PUT, &path)).await)
                    .await?;
                print_secret(&options, &secret)
            }
            Command::Remove(Named { name, options }) => options.remove(&path(&name), false, &name).await,
        }
    }
}

fn print_secret(options: &Options, robot: &RobotSecret) -> Result<(), Failure> {
    let name = &robot.name;
    let remark = format_args!(
        "the secret of {name}, shown only once; to log in with it:\n  \
         docker login -u {name} --password-stdin REGISTRY"
    );
    options.print_secret(robot, &robot.secret, remark)
}
