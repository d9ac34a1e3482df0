//! `wharfinger token`: personal tokens, which stand for a password and can do less.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounts::{AccountName, Pattern, Rights, RightsError};
use api::{MadeToken, NewToken, Token, TokenChange, Tokens};
use clap::{Args, Subcommand};
use reqwest::Method;

use super::connection::{Connection, Target};
use super::output::{self, Column, Failure, Format, Row};
use super::times;
use super::user::{self, last_seen};
use crate::rfc3339;

/// Personal tokens: used in place of a password, with fewer rights or for some time
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct TokenCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
A token is given instead of the password, as in `docker login -u ann`, or in WHARFINGER_TOKEN for these commands. It \
never may more than its user does, and can be made for less: some rights, some repositories, some time, all of which can \
be changed later. It begins with wfp_ and is shown only once; remove it with `wharfinger token remove`.

Examples:
  wharfinger token create --account ann --label laptop
  wharfinger token create --account ann --rights pull --repository 'ann/*'
  wharfinger token list --account ann
  wharfinger token change --account ann 3 --expires 30d

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong.";

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "add")]
    Create(Create),
    List(List),
    Change(Change),
    #[command(visible_alias = "revoke")]
    Remove(Remove),
}

/// Whose tokens.
#[derive(Args, Debug)]
struct Whose {
    /// The user [default: your own account, with --server]
    #[arg(long, value_name = "USER")]
    account: Option<AccountName>,

    #[command(flatten)]
    place: Target,
}

/// Make a token and print it
#[derive(Args, Debug)]
#[command(after_help = "\
The token alone goes to standard output.

Examples:
  wharfinger token create --account ann --label laptop --expires 30d
  wharfinger token create --account ann --rights pull \\
    --repository 'ann/*' --repository official/ubuntu
  wharfinger token create --server https://registry.example.com \\
    --user ann > token.txt")]
struct Create {
    #[command(flatten)]
    whose: Whose,

    /// A label for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    label: String,

    /// How long it is valid: 12h, 30d, 1y [default: until it is removed]
    #[arg(long, value_name = "TIME", value_parser = times::span)]
    expires: Option<Duration>,

    /// Its rights: pull, push, delete, administer; several with commas [default: those of the user]
    #[arg(long)]
    rights: Option<Rights>,

    /// The repositories it is for: a name or a pattern such as 'ann/*'; may be repeated [default: all]
    #[arg(long, value_name = "PATTERN")]
    repository: Vec<Pattern>,

    #[command(flatten)]
    format: Format,
}

/// List the tokens of a user
#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    whose: Whose,

    #[command(flatten)]
    format: Format,
}

/// Change a token; only what is named changes, and the secret stays the same
#[derive(Args, Debug)]
#[command(after_help = "\
It counts from that moment on, also for what was got with the token before.

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
    whose: Whose,

    /// A label for people
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,

    /// How long it is valid from now on: 12h, 30d, 1y, or never
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Limit<Duration>>,

    /// Its rights: pull, push, delete, administer; several with commas; or all, for those of the user
    #[arg(long, value_parser = rights)]
    rights: Option<Limit<Rights>>,

    /// The repositories it is for: a name or a pattern such as 'ann/*'; may be repeated
    #[arg(long, value_name = "PATTERN")]
    repository: Vec<Pattern>,

    #[command(flatten)]
    format: Format,
}

/// A limit, or none.
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
Another password does not revoke tokens. Revoke all of them if somebody else may have had the account.

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
    whose: Whose,

    #[command(flatten)]
    format: Format,
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

/// When something ends, for people: the day, or that it is over.
fn expiry(seconds: u64) -> String {
    let Some(at) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) else { return "never".to_owned() };
    if at <= SystemTime::now() {
        return "expired".to_owned();
    }
    rfc3339::seconds(at).split('T').next().unwrap_or_default().to_owned()
}

impl Whose {
    /// Where the tokens are.
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
}

/// The numbers of the tokens below a path.
pub(super) async fn ids(registry: &Connection, path: &str) -> Result<Vec<i64>, Failure> {
    Ok(registry.list::<Tokens>(path, &[]).await?.iter().map(|token| token.id).collect())
}

impl TokenCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Create(command) => command.run().await,
            Command::List(command) => command.run().await,
            Command::Change(command) => command.run().await,
            Command::Remove(command) => command.run().await,
        }
    }
}

impl Change {
    async fn run(self) -> Result<(), Failure> {
        let Self { id, whose, label, expires, rights, repository, format } = self;
        if label.is_none() && expires.is_none() && rights.is_none() && repository.is_empty() {
            return Err(Failure::usage("nothing to change")
                .help("give --label TEXT, --expires TIME, --rights RIGHTS or --repository PATTERN"));
        }
        let change = TokenChange {
            label,
            rights: rights.map(|Limit(rights)| rights),
            repositories: (!repository.is_empty()).then_some(Some(repository)),
            expires_in: expires.map(|Limit(time)| time.map(|time| time.as_secs())),
        };
        let changed = whose.place.with(async |registry| {
            let path = format!("{}/{id}", whose.path(registry).await?);
            registry.ask(registry.request(Method::PATCH, &path).json(&change)).await
        });
        let changed: Token = changed.await?;
        if format.json {
            return output::print_json(&changed);
        }
        output::print_list(format, &[changed])
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let token = NewToken {
            label: self.label,
            rights: self.rights,
            repositories: (!self.repository.is_empty()).then_some(self.repository),
            expires_in: self.expires.map(|time| time.as_secs()),
        };
        let made = self.whose.place.with(async |registry| {
            let path = self.whose.path(registry).await?;
            registry.ask(registry.request(Method::POST, &path).json(&token)).await
        });
        let made: MadeToken = made.await?;
        if self.format.json {
            return output::print_json(&made);
        }
        output::remark(
            "the token, shown this once; to log in with it, give it as the password:\n  \
             docker login -u USER --password-stdin REGISTRY\n",
        );
        output::print(format_args!("{}\n", made.secret.reveal()))
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let tokens = self.whose.place.with(async |registry| {
            let path = self.whose.path(registry).await?;
            registry.list::<Tokens>(&path, &[]).await
        });
        output::print_list(self.format, &tokens.await?)
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        let Self { id, all: _, whose, format } = self;
        let removed = whose.place.with(async |registry| {
            let path = whose.path(registry).await?;
            let ids = match id {
                Some(id) => vec![id],
                None => ids(registry, &path).await?,
            };
            for id in &ids {
                registry.send(registry.request(Method::DELETE, &format!("{path}/{id}"))).await?;
            }
            Ok(ids)
        });
        let removed = removed.await?;
        if format.json {
            return output::print_json(&serde_json::json!({ "removed": removed }));
        }
        match (id, removed.len()) {
            (Some(id), _) => output::print(format_args!("revoked the token {id}\n")),
            (None, 0) => output::print("there are no tokens\n"),
            (None, 1) => output::print("revoked 1 token\n"),
            (None, count) => output::print(format_args!("revoked {count} tokens\n")),
        }
    }
}
