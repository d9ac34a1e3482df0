//! `wharfinger webhook`: receivers of events, and their deliveries.

use std::time::{Duration, UNIX_EPOCH};

use accounts::Pattern;
use api::{
    Deliveries, Delivery, MadeWebhook, NewWebhook, Replay, Replayed, Secret, Webhook, WebhookChange,
    WebhookTest, Webhooks,
};
use clap::{Args, Subcommand};
use oci::MediaType;
use reqwest::Method;
use serde_json::json;

use super::manage::Options;
use super::output::{self, Column, Exit, Failure, Row};
use crate::rfc3339;

/// Webhooks: receivers of events such as pushes and deletions
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct WebhookCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Webhooks of the operator are in the configuration file ([[webhook]]). Owners of repositories add their own with \
`webhook add`. Each event is sent until the receiver answers with success, in the order of its repository. After the \
last attempt it is parked, until `webhook replay` sends it again.

Examples:
  wharfinger webhook ls
  wharfinger webhook test ci
  wharfinger webhook deliveries ci --state parked
  wharfinger webhook replay ci
  wharfinger webhook add https://ci.example.com/hook 'ann/*' --event push

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Ls(List),
    Test(Test),
    Deliveries(ListDeliveries),
    Replay(ReplayDeliveries),
    Add(Add),
    Rotate(Rotate),
    #[command(visible_alias = "rm")]
    Remove(Remove),
}

/// List the webhooks, with the numbers of their deliveries
#[derive(Args, Debug)]
#[command(visible_alias = "list", after_help = "Example:\n  wharfinger webhook ls --json")]
struct List {
    #[command(flatten)]
    options: Options,
}

/// Send a test event, and show the receiver's answer
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  wharfinger webhook test ci\n\nExit codes: 0 delivered; 1 not delivered; 2 invalid."
)]
struct Test {
    /// The name or number in `wharfinger webhook ls`
    #[arg(value_name = "WEBHOOK")]
    id: String,

    #[command(flatten)]
    options: Options,
}

/// List deliveries with the receiver's answers, the latest first
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger webhook deliveries ci --state parked")]
struct ListDeliveries {
    /// The name or number in `wharfinger webhook ls`
    #[arg(value_name = "WEBHOOK")]
    id: String,

    /// Only those that are pending, delivered or parked
    #[arg(long, value_name = "STATE", value_parser = ["pending", "delivered", "parked"])]
    state: Option<String>,

    /// Show at most this number
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 100)]
    limit: usize,

    #[command(flatten)]
    options: Options,
}

/// Send deliveries again: one, or all that are parked
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  wharfinger webhook replay ci
      all that are parked
  wharfinger webhook replay ci 1234
      one delivery, in any state")]
struct ReplayDeliveries {
    /// The name or number in `wharfinger webhook ls`
    #[arg(value_name = "WEBHOOK")]
    id: String,

    /// The number in `wharfinger webhook deliveries` [default: all that are parked]
    #[arg(value_name = "DELIVERY")]
    delivery: Option<i64>,

    #[command(flatten)]
    options: Options,
}

/// Add a webhook for repositories that you may administer
#[derive(Args, Debug)]
#[command(after_help = "\
The secret is shown only once. The receiver must be in the public internet; others are for the configuration file.

Example:
  wharfinger webhook add https://ci.example.com/hook 'ann/*' --event push")]
struct Add {
    /// The URL of the receiver
    url: String,

    /// The repositories: names, or patterns such as 'ann/*'
    #[arg(value_name = "PATTERN", required = true)]
    repositories: Vec<Pattern>,

    /// The events: push, tag.moved, tag.*, *; may be repeated [default: all but pulls and blobs]
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,

    /// The media type or artifact type of the manifests; may be repeated [default: all]
    #[arg(long = "media-type", value_name = "TYPE")]
    media_types: Vec<MediaType>,

    /// cloudevents, cloudevents-binary or distribution [default: cloudevents]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    #[command(flatten)]
    options: Options,
}

/// Replace the secret of a webhook; the old one also signs until the next change
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger webhook rotate 3")]
struct Rotate {
    /// The number in `wharfinger webhook ls`
    #[arg(value_name = "WEBHOOK")]
    id: String,

    #[command(flatten)]
    options: Options,
}

/// Remove a webhook with its deliveries
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  wharfinger webhook remove 3")]
struct Remove {
    /// The number in `wharfinger webhook ls`
    #[arg(value_name = "WEBHOOK")]
    id: String,

    #[command(flatten)]
    options: Options,
}

impl Row for Webhook {
    const COLUMNS: &'static [Column] = &[
        Column::text("WEBHOOK"),
        Column::text("URL").cut(),
        Column::text("EVENTS").cut(),
        Column::text("REPOSITORIES").cut(),
        Column::text("PENDING"),
        Column::text("PARKED"),
    ];

    fn cells(&self) -> Vec<String> {
        let repositories: Vec<String> = self.repositories.iter().map(ToString::to_string).collect();
        vec![
            self.id.clone(),
            self.url.clone(),
            or_all(self.events.join(" "), "(usual)"),
            or_all(repositories.join(" "), "(all)"),
            self.pending.to_string(),
            self.parked.to_string(),
        ]
    }
}

fn or_all(text: String, all: &str) -> String {
    if text.is_empty() { all.to_owned() } else { text }
}

impl Row for Delivery {
    const COLUMNS: &'static [Column] = &[
        Column::text("DELIVERY"),
        Column::text("TIME"),
        Column::text("EVENT"),
        Column::text("REPOSITORY").cut(),
        Column::text("STATE"),
        Column::text("ATTEMPTS"),
        Column::text("ANSWER").cut(),
    ];

    fn cells(&self) -> Vec<String> {
        let answer =
            self.answer.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let answer = match self.status {
            Some(status) => format!("{status} {answer}"),
            None => answer,
        };
        vec![
            self.id.to_string(),
            rfc3339::seconds(UNIX_EPOCH + Duration::from_secs(self.created_at)),
            self.event.clone(),
            self.repository.clone().unwrap_or_else(|| "-".to_owned()),
            self.state.clone(),
            self.attempts.to_string(),
            answer,
        ]
    }
}

const WEBHOOKS: &str = "/api/v1/webhooks";

impl WebhookCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Ls(command) => command.options.list::<Webhooks>(WEBHOOKS, &[]).await,
            Command::Test(command) => command.run().await,
            Command::Deliveries(command) => command.run().await,
            Command::Replay(command) => command.run().await,
            Command::Add(command) => command.run().await,
            Command::Rotate(command) => command.run().await,
            Command::Remove(command) => command.run().await,
        }
    }
}

impl Test {
    async fn run(self) -> Result<(), Failure> {
        let path = format!("{WEBHOOKS}/{}/test", self.id);
        let tested: WebhookTest = self
            .options
            .target
            .with(async |registry| registry.json(registry.request(Method::POST, &path)).await)
            .await?;
        let status = tested.status.map_or("no answer".to_owned(), |status| format!("status {status}"));
        let outcome = if tested.delivered { "delivered" } else { "not delivered" };
        let answer = output::harmless(tested.answer.trim());
        let separator = if answer.is_empty() { "" } else { ": " };
        self.options.print(&tested, format_args!("{outcome}: {status}{separator}{answer}"))?;
        if tested.delivered { Ok(()) } else { Err(Failure::reported(Exit::Failed)) }
    }
}

impl ListDeliveries {
    async fn run(self) -> Result<(), Failure> {
        let path = format!("{WEBHOOKS}/{}/deliveries", self.id);
        let limit = self.limit.to_string();
        let query: Vec<(&str, &str)> = std::iter::once(("n", limit.as_str()))
            .chain(self.state.as_deref().map(|state| ("state", state)))
            .collect();
        let page: Deliveries = self
            .options
            .target
            .with(async |registry| registry.json(registry.request(Method::GET, &path).query(&query)).await)
            .await?;
        self.options.print_list(&page.deliveries)
    }
}

impl ReplayDeliveries {
    async fn run(self) -> Result<(), Failure> {
        let path = format!("{WEBHOOKS}/{}/replay", self.id);
        let replay = Replay { delivery: self.delivery };
        let replayed: Replayed =
            self.options.target.with(async |registry| registry.post(&path, &replay).await).await?;
        if replayed.replayed == 0 && self.delivery.is_some() {
            return Err(Failure::new(format!("webhook {} has no such delivery", self.id)));
        }
        let said = match replayed.replayed {
            0 => "no delivery is parked".to_owned(),
            count => output::counted(count, "delivery is sent again", "deliveries are sent again"),
        };
        self.options.print(&replayed, said)
    }
}

impl Add {
    async fn run(self) -> Result<(), Failure> {
        let Self { url, repositories, events, media_types, format, options } = self;
        let new = NewWebhook { url, secret: None, events, repositories, media_types, format };
        let made: MadeWebhook =
            options.target.with(async |registry| registry.post(WEBHOOKS, &new).await).await?;
        print_secret(&options, &made)
    }
}

impl Rotate {
    async fn run(self) -> Result<(), Failure> {
        let path = format!("{WEBHOOKS}/{}", self.id);
        let change = WebhookChange::default();
        let made: MadeWebhook =
            self.options.target.with(async |registry| registry.patch(&path, &change).await).await?;
        print_secret(&self.options, &made)
    }
}

fn print_secret(options: &Options, made: &MadeWebhook) -> Result<(), Failure> {
    let secret: &Secret = &made.secret;
    output::remark(format_args!(
        "webhook {} signs with this secret, which is shown this once",
        made.webhook.id
    ));
    options.print(made, secret.reveal())
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        let path = format!("{WEBHOOKS}/{}", self.id);
        self.options.target.with(async |registry| registry.delete(&path, &[]).await).await?;
        self.options.print(&json!({ "removed": [self.id] }), format_args!("removed webhook {}", self.id))
    }
}
