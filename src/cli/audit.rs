//! `wharfinger audit`: the audit log.

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

/// Read the audit log: actions of accounts, and denied attempts
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct AuditCommand {
    /// Only entries since this time: 30m, 7d, today, yesterday, 2026-11-20, 2026-11-20T14:30:00Z
    #[arg(long, value_name = "TIME", value_parser = times::since)]
    since: Option<SystemTime>,

    /// Only actions of this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountName>,

    /// Only actions on this repository, or on those below it
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<RepositoryName>,

    /// Only this action, such as manifest.push, or this kind of action, such as user
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,

    /// Only denied attempts
    #[arg(long)]
    denied: bool,

    /// Show at most this number of entries, the latest [default: 100; with --since, all]
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,

    /// Print new entries as they are written, until Ctrl-C
    #[arg(long, short = 'f')]
    follow: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
Times are in UTC. The settings `audit.*` decide how long entries are kept, and whether pulls are recorded. \
With --follow, JSON is one object per line.

Examples:
  wharfinger audit
  wharfinger audit --since 1h --account ann
  wharfinger audit --repository official/ubuntu --denied
  wharfinger audit --follow --json

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

/// The default of `--limit`.
const LATEST: usize = 100;
/// The polling interval of `--follow`.
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
            // An empty log has no last entry.
            let entries = self.all_after(registry, &filters, Some(last.unwrap_or(0))).await?;
            last = entries.last().map(|entry| entry.id).or(last);
            self.print_lines(&entries)?;
        }
    }

    /// The query parameters of the filters.
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

    /// Requests all pages of entries after an id.
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

    /// Prints entries one per line.
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
