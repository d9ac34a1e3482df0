//! `wharfinger events`: the stream of events.

use std::time::{Duration, UNIX_EPOCH};

use api::Event;
use clap::Args;
use oci::RepositoryName;
use reqwest::Method;
use serde_json::Value;

use super::connection::Connection;
use super::output::{self, Failure, Format};
use super::target::Target;
use crate::rfc3339;

/// Show events: pushes, deletions, moved tags and work of the server
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct EventsCommand {
    /// Print new events as they happen, until Ctrl-C
    #[arg(long, short = 'f')]
    follow: bool,

    /// Begin after the event with this number [default: with --follow, from now on; else, with the oldest
    /// that is kept]
    #[arg(long, value_name = "ID")]
    after: Option<i64>,

    /// Only these events: push, tag.moved, tag.*, *; may be repeated [default: all but pulls and blobs]
    #[arg(long, value_name = "EVENT")]
    event: Vec<String>,

    /// Only events of this repository
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<RepositoryName>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
Events of repositories that you may pull are shown; those of the whole registry are for administrators. JSON is one \
object per line; its `id` is the number for --after. A connection that breaks is resumed without a gap. The setting \
`events.retention` decides how long events are kept.

Examples:
  wharfinger events
  wharfinger events --follow --json
  wharfinger events --follow --event push --repository team/app

Exit codes: 0 success; 1 failure; 2 invalid command line or configuration.";

/// A stream lasts an hour at most.
const TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
/// The delay before a broken stream is resumed.
const RESUME: Duration = Duration::from_secs(1);

impl EventsCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        self.target.with(async |registry| self.read(registry).await).await
    }

    async fn read(&self, registry: &Connection) -> Result<(), Failure> {
        let mut last = self.after.or((!self.follow).then_some(0));
        let mut is_first = true;
        loop {
            let stream = self.stream(registry, &mut last, &mut is_first);
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                streamed = stream => match streamed {
                    Ok(()) if !self.follow => return Ok(()),
                    Ok(()) => {}
                    // Retry while a server restarts. A failed first request is an error.
                    Err(failure) if is_first || !self.follow => return Err(failure),
                    Err(_) => {}
                },
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                () = tokio::time::sleep(RESUME) => {}
            }
        }
    }

    /// Prints the events of one request.
    async fn stream(
        &self,
        registry: &Connection,
        last: &mut Option<i64>,
        is_first: &mut bool,
    ) -> Result<(), Failure> {
        let mut request = registry.request(Method::GET, "/api/v1/events").timeout(TIMEOUT);
        if let Some(after) = *last {
            request = request.query(&[("after", after)]);
        }
        if let Some(repository) = &self.repository {
            request = request.query(&[("repository", repository.as_str())]);
        }
        for event in &self.event {
            request = request.query(&[("event", event)]);
        }
        if !self.follow {
            request = request.query(&[("follow", "false")]);
        }
        let mut answer = registry.send(request).await?;
        *is_first = false;
        let broken = || Failure::new("the stream of events was cut off");
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| broken().because(&error))? {
            text.extend_from_slice(&piece);
            while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = text.drain(..end + 2).collect();
                self.print(&String::from_utf8_lossy(&block), last)?;
            }
        }
        Ok(())
    }

    /// Prints one event of the stream.
    fn print(&self, block: &str, last: &mut Option<i64>) -> Result<(), Failure> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if field("event") == Some("lost") {
            output::remark("older events are not kept any more; some are missing here");
            return Ok(());
        }
        let Some(data) = field("data") else { return Ok(()) };
        let event: Event = serde_json::from_str(data).map_err(|error| {
            Failure::new("an event of the stream is not the expected JSON").because(&error)
        })?;
        *last = Some(event.id);
        if self.format.json {
            return output::print_json_line(&event);
        }
        output::print(format_args!("{}\n", line(&event)))
    }
}

/// An event as a line for people.
fn line(event: &Event) -> String {
    let text = |name: &str| event.data.get(name).and_then(Value::as_str);
    let mut line = rfc3339::seconds(UNIX_EPOCH + Duration::from_secs(event.at));
    line.push_str(&format!("  {:<19}", event.event));
    if let Some(repository) = text("repository") {
        line.push_str(&format!("  {repository}"));
        if let Some(tag) = text("tag") {
            line.push_str(&format!(":{tag}"));
        }
    }
    if let Some(digest) = text("digest") {
        line.push_str(&format!("  {}", digest.get(..19).unwrap_or(digest)));
    }
    if let Some(tags) = event.data.get("tags").and_then(Value::as_array) {
        let tags: Vec<&str> = tags.iter().filter_map(Value::as_str).collect();
        line.push_str(&format!("  tags {}", tags.join(" ")));
    }
    if let Some(account) = text("account") {
        line.push_str(&format!("  by {account}"));
    }
    line
}
