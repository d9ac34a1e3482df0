//! `wharfinger audit`: who did what, and who was refused.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use accounts::AccountName;
use api::{Audit, AuditEntry};
use clap::Args;
use oci::RepositoryName;
use reqwest::Method;

use super::connection::Connection;
use super::output::{self, Column, Failure, Format, Row};
use super::target::Target;
use super::times;
use crate::rfc3339;

/// Read who did what, from where, and who was refused
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct AuditCommand {
    /// Only what was done since then: 30m, 7d, today, yesterday, 2026-11-20, 2026-11-20T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = times::since)]
    since: Option<SystemTime>,

    /// Only what this account did
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountName>,

    /// Only what was done to this repository, or to those below it
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<RepositoryName>,

    /// Only one kind of action, as the list names it
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,

    /// Only what was refused
    #[arg(long)]
    denied: bool,

    /// How many to show at most, the latest; with --since, all are shown unless this is said [default: 100]
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,

    /// Go on with what happens from now on, until Ctrl-C
    #[arg(long, short = 'f')]
    follow: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
Times are in UTC. How long entries are kept, and whether pulls are among them, are settings (`audit.*`). \
With --follow, JSON is one object a line.

Examples:
  wharfinger audit
  wharfinger audit --since 1h --account ann
  wharfinger audit --repository official/ubuntu --denied
  wharfinger audit --follow --json

Exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong.";

/// How many are shown if nothing is said.
const LATEST: usize = 100;
/// How long to wait before asking again for what is new.
const PAUSE: Duration = Duration::from_secs(1);

impl Row for AuditEntry {
    const COLUMNS: &'static [Column] = &[
        Column::text("TIME"),
        Column::text("ACCOUNT").cut(),
        Column::text("FROM").optional(),
        Column::text("ACTION"),
        Column::text("ON").cut(),
        Column::text("VERDICT"),
        Column::text("DETAIL").optional(),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            rfc3339::seconds(UNIX_EPOCH + Duration::from_secs(self.at)),
            or_dash(self.account.as_deref()),
            or_dash(self.address.as_deref()),
            self.action.clone(),
            or_dash(self.object.as_deref()),
            self.verdict.to_string(),
            self.detail.clone().unwrap_or_default(),
        ]
    }
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

impl AuditCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.target.with(async |registry| self.read(registry).await).await
    }

    async fn read(&self, registry: &Connection) -> Result<(), Failure> {
        let filters = self.filters();
        let mut last = None;
        let entries = match (self.since, self.limit) {
            (Some(_), None) => self.all_after(registry, &filters, None).await?,
            (_, limit) => {
                let limit = limit.unwrap_or(LATEST);
                let mut latest = filters.clone();
                latest.extend([("latest", "true".to_owned()), ("n", limit.to_string())]);
                page(registry, &latest).await?.entries
            }
        };
        last = entries.last().map(|entry| entry.id).or(last);
        if !self.follow {
            return output::print_list(self.format, &entries);
        }
        self.print_lines(&entries)?;
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
            // Before anything has happened there is no entry to begin after.
            let entries = self.all_after(registry, &filters, Some(last.unwrap_or(0))).await?;
            last = entries.last().map(|entry| entry.id).or(last);
            self.print_lines(&entries)?;
        }
    }

    /// What is to be seen, as parameters.
    fn filters(&self) -> Vec<(&'static str, String)> {
        let since = self
            .since
            .map(|since| since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string());
        [
            ("since", since),
            ("account", self.account.as_ref().map(ToString::to_string)),
            ("repository", self.repository.as_ref().map(ToString::to_string)),
            ("action", self.action.clone()),
            ("verdict", self.denied.then(|| "denied".to_owned())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// All entries after one, however many pages.
    async fn all_after(
        &self,
        registry: &Connection,
        filters: &[(&'static str, String)],
        mut after: Option<i64>,
    ) -> Result<Vec<AuditEntry>, Failure> {
        let mut all = Vec::new();
        loop {
            let mut query = filters.to_vec();
            query.extend(after.map(|after| ("after", after.to_string())));
            let Audit { entries, more } = page(registry, &query).await?;
            after = entries.last().map(|entry| entry.id).or(after);
            let more = more && !entries.is_empty();
            all.extend(entries);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Entries one a line, each as it comes.
    fn print_lines(&self, entries: &[AuditEntry]) -> Result<(), Failure> {
        for entry in entries {
            if self.format.json {
                output::print_json_line(entry)?;
            } else {
                output::print(format_args!("{}\n", output::harmless(&entry.cells().join("  "))))?;
            }
        }
        Ok(())
    }
}

async fn page(registry: &Connection, query: &[(&'static str, String)]) -> Result<Audit, Failure> {
    registry.json(registry.request(Method::GET, "/api/v1/audit").query(query)).await
}
