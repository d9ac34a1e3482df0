//! `wharfinger upstream`: the registries whose content this one caches.

use std::io::IsTerminal as _;

use api::{Purged, Upstream, UpstreamState, UpstreamTest, Upstreams};
use clap::{Args, Subcommand};
use reqwest::Method;

use super::connection::{Connection, segment};
use super::manage::Options;
use super::output::{self, Column, Exit, Failure, Row};

/// Upstreams: other registries whose images this one fetches once and keeps
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct UpstreamCommand {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Upstreams are configured in the file ([[upstream]]) or with `wharfinger serve --upstream NAME=URL`.

Examples:
  wharfinger upstream ls
  wharfinger upstream test docker.io
  wharfinger upstream purge docker.io 'library/*'

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// List the upstreams, with their state and what is cached
    #[command(
        name = "ls",
        visible_alias = "list",
        after_help = "Example:\n  wharfinger upstream ls --server http://localhost:5000 --json"
    )]
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Call the upstreams, and check that they answer and accept the credentials
    #[command(after_help = "Example:\n  wharfinger upstream test docker.io")]
    Test {
        /// The upstream [default: all]
        name: Option<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Remove the cached content of an upstream; it is fetched again at the next pull
    #[command(after_help = "Example:\n  wharfinger upstream purge docker.io 'library/*'")]
    Purge {
        /// The upstream
        name: String,
        /// A pattern of its repositories, such as 'library/*' [default: all]
        pattern: Option<String>,
        /// Do not ask before everything is removed
        #[arg(long, short = 'y')]
        yes: bool,
        #[command(flatten)]
        options: Options,
    },
}

impl Row for Upstream {
    const COLUMNS: &'static [Column] = &[
        Column::text("NAME"),
        Column::text("STATE"),
        Column::number("TAGS"),
        Column::number("SIZE"),
        Column::number("HITS"),
        Column::number("MISSES"),
        Column::text("LIMIT"),
        Column::text("URL"),
    ];

    fn cells(&self) -> Vec<String> {
        let state = match self.state {
            UpstreamState::Ok => "ok",
            UpstreamState::Limited => "limited",
            UpstreamState::Down => "down",
        };
        let limit = self.urls.iter().find_map(|url| url.rate_limit.zip(url.rate_remaining));
        let limit = limit.map_or_else(|| "-".to_owned(), |(limit, rest)| format!("{rest} of {limit}"));
        let urls: Vec<&str> = self.urls.iter().map(|url| url.url.as_str()).collect();
        vec![
            self.name.to_string(),
            state.to_owned(),
            self.tags.to_string(),
            output::human_size(self.bytes),
            self.hits.to_string(),
            self.misses.to_string(),
            limit,
            urls.join(","),
        ]
    }
}

async fn upstreams(registry: &Connection) -> Result<Vec<Upstream>, Failure> {
    Ok(registry.get::<Upstreams>("/api/v1/upstreams").await?.upstreams)
}

impl UpstreamCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List { options } => {
                let all = options.target.with(async |registry| upstreams(registry).await).await?;
                if all.is_empty() && !options.json() {
                    output::remark("no upstream is configured; `wharfinger upstream --help` says how\n");
                    return Ok(());
                }
                options.print_list(&all)
            }
            Command::Test { name, options } => test(name, &options).await,
            Command::Purge { name, pattern, yes, options } => purge(&name, pattern, yes, &options).await,
        }
    }
}

async fn test(name: Option<String>, options: &Options) -> Result<(), Failure> {
    let tested = options.target.with(async |registry| {
        let names = match &name {
            Some(name) => vec![name.clone()],
            None => upstreams(registry).await?.iter().map(|upstream| upstream.name.to_string()).collect(),
        };
        let mut tested: Vec<UpstreamTest> = Vec::new();
        for name in names {
            let path = format!("/api/v1/upstreams/{}/test", segment(name));
            tested.push(registry.json(registry.request(Method::POST, &path)).await?);
        }
        Ok(tested)
    });
    let tested = tested.await?;
    if options.json() {
        output::print_json(&tested)?;
    } else {
        for (test, probe) in tested.iter().flat_map(|test| test.urls.iter().map(move |probe| (test, probe))) {
            let result = match &probe.error {
                None => format!("ok, {} ms", probe.milliseconds),
                Some(error) => format!("failed: {}", output::harmless(error)),
            };
            output::print(format_args!("{} {}: {result}\n", test.name, probe.url))?;
        }
    }
    let all_answer = tested.iter().all(|test| test.urls.iter().all(|probe| probe.ok));
    if all_answer { Ok(()) } else { Err(Failure::reported(Exit::Failed)) }
}

async fn purge(name: &str, pattern: Option<String>, yes: bool, options: &Options) -> Result<(), Failure> {
    if pattern.is_none() && !yes && std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("this would remove all that is cached of {name}"))
            .help("confirm with --yes, or name a pattern of its repositories"));
    }
    let purged: Purged = options
        .target
        .with(async |registry| {
            let path = format!("/api/v1/upstreams/{}/cache", segment(name));
            let mut request = registry.request(Method::DELETE, &path);
            if let Some(pattern) = &pattern {
                request = request.query(&[("repositories", pattern)]);
            }
            registry.json(request).await
        })
        .await?;
    if options.json() {
        return output::print_json(&purged);
    }
    for repository in &purged.repositories {
        output::print(format_args!("removed {repository}\n"))?;
    }
    output::print(format_args!(
        "{} removed\n",
        output::counted(purged.repositories.len(), "repository", "repositories")
    ))
}
