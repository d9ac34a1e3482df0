//! `wharfinger token`: personal tokens, which replace a password and can have fewer rights.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounts::{AccountName, Pattern, Rights, RightsError};
use api::{MadeToken, NewToken, Token, TokenChange, Tokens};
use clap::{Args, Subcommand};
use serde_json::json;

use super::connection::Connection;
use super::manage::{Options, last_seen, nothing_to_change};
use super::output::{Column, Failure, Row, counted};
use super::times;
use super::user;
use crate::rfc3339;

/// Personal tokens: used instead of a password, with fewer rights or an expiry
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct TokenCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Use a token instead of the password, as in `docker login -u ann`, or in WHARFINGER_TOKEN for these commands. It never \
has more rights than its user. It can be limited to some rights, some repositories and some time; all limits can be \
changed later. A token begins with wfp_ and is shown only once. Revoke it with `wharfinger token remove`.

Examples:
  wharfinger token create --account ann --label laptop
  wharfinger token create --account ann --rights pull --repository 'ann/*'
  wharfinger token list --account ann
  wharfinger token change --account ann 3 --expires 30d

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "add")]
    Create(Create),
    /// List the tokens of a user
    #[command(visible_alias = "ls")]
    List(Account),
    Change(Change),
    #[command(visible_alias = "revoke")]
    Remove(Remove),
}

/// The account of the tokens, and the options.
#[derive(Args, Debug)]
struct Account {
    /// The user [default: your own account, with --server]
    #[arg(long, value_name = "USER")]
    account: Option<AccountName>,

    #[command(flatten)]
    options: Options,
}

/// Create a token and print it
#[derive(Args, Debug)]
#[command(after_help = "\
The token alone is written to standard output.

Examples:
  wharfinger token create --account ann --label laptop --expires 30d
  wharfinger token create --account ann --rights pull \\
    --repository 'ann/*' --repository official/ubuntu
  wharfinger token create --server https://registry.example.com \\
    --user ann > token.txt")]
struct Create {
    #[command(flatten)]
    account: Account,

    /// A label for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    label: String,

    /// How long it is valid: 12h, 30d, 1y [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = times::span)]
    expires: Option<Duration>,

    /// Its rights: pull, push, delete, administer; separated by commas [default: the rights of the user]
    #[arg(long)]
    rights: Option<Rights>,

    /// The repositories it is limited to: a name or a pattern such as 'ann/*'; may be repeated [default: all]
    #[arg(long, value_name = "PATTERN")]
    repository: Vec<Pattern>,
}

/// Change a token; its secret and settings that are not named stay as they are
#[derive(Args, Debug)]
#[command(after_help = "\
The change applies at once, also to bearer tokens that were issued for the token before.

Examples:
  wharfinger token change --account ann 3 --rights pull
  wharfinger token change --account ann 3 --expires 30d \\
    --label 'laptop, until the end of the month'
  wharfinger token change --account ann 3 --rights all \\
    --repository '**' --expires never")]
struct Change {
    /// The number in `wharfinger token list`
    #[arg(value_name = "ID")]
    id: i64,

    #[command(flatten)]
    account: Account,

    /// A label for people
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,

    /// How long it is valid from now on: 12h, 30d, 1y, or never
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Limit<Duration>>,

    /// Its rights: pull, push, delete, administer; separated by commas; or all, for the rights of the user
    #[arg(long, value_parser = rights)]
    rights: Option<Limit<Rights>>,

    /// The repositories it is limited to: a name or a pattern such as 'ann/*'; may be repeated
    #[arg(long, value_name = "PATTERN")]
    repository: Vec<Pattern>,
}

/// A new limit; `None` removes it.
#[derive(Clone, Copy, Debug)]
struct Limit<T>(Option<T>);

fn lifetime(text: &str) -> Result<Limit<Duration>, String> {
    if text == "never" { Ok(Limit(None)) } else { times::span(text).map(|time| Limit(Some(time))) }
}

fn rights(text: &str) -> Result<Limit<Rights>, RightsError> {
    if text == "all" { Ok(Limit(None)) } else { text.parse().map(|rights| Limit(Some(rights))) }
}

/// Revoke a token; it stops working at once
#[derive(Args, Debug)]
#[command(after_help = "\
A new password does not revoke tokens. Revoke all of them if the account may have been misused.

Examples:
  wharfinger token remove --account ann 3
  wharfinger token remove --account ann --all")]
struct Remove {
    /// The number in `wharfinger token list`
    #[arg(value_name = "ID", required_unless_present = "all")]
    id: Option<i64>,

    /// Revoke all tokens of the user
    #[arg(long, conflicts_with = "id")]
    all: bool,

    #[command(flatten)]
    account: Account,
}

impl Row for Token {
    const COLUMNS: &'static [Column] = &[
        Column::number("ID"),
        Column::text("LABEL").cut(),
        Column::text("RIGHTS"),
        Column::text("REPOSITORIES").cut(),
        Column::text("EXPIRES"),
        Column::text("LAST USED").optional(),
    ];

    fn cells(&self) -> Vec<String> {
        let repositories = self.repositories.as_ref().map_or("all".to_owned(), |patterns| {
            patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        });
        vec![
            self.id.to_string(),
            self.label.clone(),
            self.rights.map_or("all".to_owned(), |rights| rights.to_string()),
            repositories,
            self.expires_at.map_or("never".to_owned(), expiry),
            last_seen(self.last_used_at),
        ]
    }
}

/// The day of expiry, for people, with the time if it is close.
fn expiry(seconds: u64) -> String {
    let Some(at) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) else { return "never".to_owned() };
    if at <= SystemTime::now() {
        return "expired".to_owned();
    }
    let (day, time) = (rfc3339::seconds(at), Duration::from_secs(2 * 24 * 3600));
    if at.duration_since(SystemTime::now()).is_ok_and(|left| left < time) {
        return day;
    }
    day.split('T').next().unwrap_or_default().to_owned()
}

impl Account {
    /// The API path of the tokens. Requests the name of the caller's own account if none is given.
    async fn path(&self, registry: &Connection) -> Result<String, Failure> {
        let account = match &self.account {
            Some(account) => Some(account.clone()),
            None => user::me(registry).await?.name,
        };
        let account = account.ok_or_else(|| {
            Failure::usage("the user of the token is missing")
                .help("name the user with --account NAME, or log in with --server URL --user NAME")
        })?;
        Ok(format!("{}/tokens", user::path(&account)))
    }

    /// Connects, and runs `work` with the API path of the tokens.
    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Connection, String) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.options
            .target
            .with(async |registry| {
                let path = self.path(registry).await?;
                work(registry, path).await
            })
            .await
    }
}

impl TokenCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Create(command) => command.run().await,
            Command::List(account) => {
                let list = account.with(async |registry, path| registry.list::<Tokens>(&path, &[]).await);
                account.options.print_list(&list.await?)
            }
            Command::Change(command) => command.run().await,
            Command::Remove(command) => command.run().await,
        }
    }
}

impl Change {
    async fn run(self) -> Result<(), Failure> {
        let Self { id, account, label, expires, rights, repository } = self;
        if label.is_none() && expires.is_none() && rights.is_none() && repository.is_empty() {
            return Err(nothing_to_change(
                "--label TEXT, --expires TIME, --rights RIGHTS or --repository PATTERN",
            ));
        }
        let change = TokenChange {
            label,
            rights: rights.map(|Limit(rights)| rights),
            repositories: (!repository.is_empty()).then_some(Some(repository)),
            expires_in: expires.map(|Limit(time)| time.map(|time| time.as_secs())),
        };
        let changed =
            account.with(async |registry, path| registry.patch(&format!("{path}/{id}"), &change).await);
        account.options.print_entry::<Token>(&changed.await?)
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let Self { account, label, expires, rights, repository } = self;
        let new = NewToken {
            label,
            rights,
            repositories: (!repository.is_empty()).then_some(repository),
            expires_in: expires.map(|time| time.as_secs()),
        };
        let created = account.with(async |registry, path| registry.post(&path, &new).await);
        let token: MadeToken = created.await?;
        let user = account.account.as_ref().map_or("USER".to_owned(), ToString::to_string);
        let remark = format_args!(
            "the token, shown only once; to log in with it, give it as the password:\n  \
             docker login -u {user} --password-stdin REGISTRY"
        );
        account.options.print_secret(&token, &token.secret, remark)
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        let Self { id, all: _, account } = self;
        let removed = account.with(async |registry, path| {
            let ids = match id {
                Some(id) => vec![id],
                None => registry.list::<Tokens>(&path, &[]).await?.iter().map(|token| token.id).collect(),
            };
            for id in &ids {
                registry.delete(&format!("{path}/{id}"), &[]).await?;
            }
            Ok(ids)
        });
        let removed = removed.await?;
        let line = match (id, removed.len()) {
            (Some(id), _) => format!("revoked the token {id}"),
            (None, 0) => "there are no tokens".to_owned(),
            (None, count) => format!("revoked {}", counted(count, "token", "tokens")),
        };
        account.options.print(&json!({ "removed": removed }), line)
    }
}
