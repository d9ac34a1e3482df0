//! `wharfinger gc`: collects garbage, previews a collection, and explains what keeps content.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::{
    Collected, Explanation, GarbageKept, GarbageLine, GarbagePreview, GarbageRemoval, GarbageReport,
    GarbageSpace, GarbageStatus, KeepingChain, RunningCollection, RunningDeletion,
};
use clap::Args;
use oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use oci::reference::Reference;
use oci::{Digest, RepositoryName, TagOrDigest};
use reqwest::Method;

use super::connection::Connection;
use super::image;
use super::json_lines;
use super::output::{self, Column, Failure, Format, Row, counted};
use super::progress::progress_bar;
use super::target::Target;

/// Reclaim the space of deleted images, or explain why content is kept
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Gc {
    /// Collect now, wait for the end, and show the freed space
    #[arg(long, conflicts_with_all = ["dry_run", "explain"])]
    now: bool,

    /// Show the removals of a collection that would run now, with reasons; change nothing
    #[arg(long, conflicts_with = "explain")]
    dry_run: bool,

    /// Explain why content is kept, or when it is collected: DIGEST, REPOSITORY@DIGEST or REPOSITORY:TAG
    #[arg(long, value_name = "CONTENT")]
    explain: Option<String>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
The server collects garbage by itself, at the interval gc.interval and when the grace period of a deletion ends. \
Deleted tags, images and repositories go after gc.grace (24h by default). Images that only lost their tag to a newer \
push stay, unless gc.untagged is set. Pushes and pulls go on during a collection. Without an option, the command shows \
the last collection and the space that is kept for now.

Examples:
  wharfinger gc
  wharfinger gc --now
  wharfinger gc --dry-run --json
  wharfinger gc --explain sha256:6c3c…
  wharfinger gc --explain team/app@sha256:6c3c…

Exit codes: 0 success; 1 failure; 2 invalid command line.";

/// A collection of a large registry may take hours.
const TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Row for GarbageRemoval {
    const COLUMNS: &'static [Column] = &[
        Column::text("REMOVES"),
        Column::text("REPOSITORY"),
        Column::text("DIGEST"),
        Column::number("SIZE"),
        Column::text("BECAUSE").cut(),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.kind.clone(),
            self.repository.clone().unwrap_or_else(|| "-".to_owned()),
            self.digest.to_string(),
            output::human_size(self.bytes),
            self.reason.clone(),
        ]
    }
}

impl Gc {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let json = self.format.json;
        let content = self.explain.as_deref().map(parse).transpose()?;
        if let Some(content) = content {
            let explained = self.target.with(async |registry| explain(registry, &content).await).await?;
            return if json { output::print_json(&explained) } else { print_explanation(&explained) };
        }
        if self.dry_run {
            let preview: GarbagePreview = self
                .target
                .with(async |registry| {
                    let request = registry.request(Method::POST, "/api/v1/gc").query(&[("dry_run", "true")]);
                    registry.json(request.timeout(TIMEOUT)).await
                })
                .await?;
            return if json { output::print_json(&preview) } else { print_preview(&preview, self.format) };
        }
        if self.now {
            let report = self.target.with(async |registry| collect(registry).await).await?;
            return if json { output::print_json(&report) } else { print_report(&report) };
        }
        let status: GarbageStatus = self
            .target
            .with(async |registry| {
                registry.json(registry.request(Method::GET, "/api/v1/gc").timeout(TIMEOUT)).await
            })
            .await?;
        if json { output::print_json(&status) } else { print_status(&status) }
    }
}

/// The content to explain.
enum Content {
    Digest(Digest),
    Image(RepositoryName, TagOrDigest),
    /// A blob of a repository, or a manifest.
    Of(RepositoryName, Digest),
}

fn parse(text: &str) -> Result<Content, Failure> {
    let digest = text.parse();
    if let Ok(digest) = digest {
        return Ok(Content::Digest(digest));
    }
    let invalid = |reason: &str| {
        Failure::usage(format!("invalid content \"{text}\": {reason}"))
            .help("write a digest, REPOSITORY@DIGEST or REPOSITORY:TAG")
    };
    if let Err(error) = digest
        && image::is_meant_as_digest(text)
    {
        return Err(invalid(&error.to_string()));
    }
    let reference: Reference = text.parse().map_err(|error| invalid(&format!("{error}")))?;
    match reference.target {
        Some(TagOrDigest::Digest(digest)) => Ok(Content::Of(reference.repository, digest)),
        Some(target) => Ok(Content::Image(reference.repository, target)),
        None => Err(invalid("it names a whole repository")),
    }
}

async fn explain(registry: &Connection, content: &Content) -> Result<Explanation, Failure> {
    let (repository, digest) = match content {
        Content::Digest(digest) => (None, *digest),
        Content::Of(repository, digest) => (Some(repository), *digest),
        Content::Image(repository, target) => {
            (Some(repository), resolve(registry, repository, target).await?)
        }
    };
    let request =
        registry.request(Method::GET, "/api/v1/gc/explain").query(&[("digest", digest.to_string())]);
    let request = match repository {
        Some(repository) => request.query(&[("repository", repository.as_str())]),
        None => request,
    };
    registry.json(request).await
}

/// The digest of a tag.
async fn resolve(
    registry: &Connection,
    repository: &RepositoryName,
    target: &TagOrDigest,
) -> Result<Digest, Failure> {
    let path = format!("/v2/{repository}/manifests/{target}");
    let accept = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
    let answer = registry.send(registry.request(Method::GET, &path).header("Accept", accept)).await?;
    let digest = answer.headers().get("Docker-Content-Digest").and_then(|value| value.to_str().ok());
    digest
        .and_then(|digest| digest.parse().ok())
        .ok_or_else(|| Failure::new(format!("the answer for {repository}:{target} has no digest")))
}

async fn collect(registry: &Connection) -> Result<GarbageReport, Failure> {
    let answer = registry.send(registry.request(Method::POST, "/api/v1/gc").timeout(TIMEOUT)).await?;
    let bar = progress_bar();
    let broken =
        || Failure::new("the collection was cut off").help("the server was stopped, or its log says more");
    let ended = json_lines::read(answer, broken, |line| match line {
        GarbageLine::Progress(Collected { files, bytes, .. }) => {
            bar.set_message(format!(
                "freed {}, {}",
                counted(files, "file", "files"),
                output::human_size(bytes)
            ));
            None
        }
        GarbageLine::Report(report) => Some(Ok(report)),
        GarbageLine::Failed(reason) => {
            Some(Err(Failure::new("the collection could not be finished").help(reason)))
        }
    });
    let ended = ended.await;
    bar.finish_and_clear();
    ended
}

fn print_report(report: &GarbageReport) -> Result<(), Failure> {
    print_collected(&report.collected)?;
    print_kept(&report.kept)
}

fn print_collected(collected: &Collected) -> Result<(), Failure> {
    let Collected { manifests, links, files, bytes, uploads, leased } = *collected;
    output::print(format_args!(
        "freed {} in {}; removed {} and {} from repositories, and {}\n",
        output::human_size(bytes),
        counted(files, "file", "files"),
        counted(manifests, "image", "images"),
        counted(links, "blob", "blobs"),
        counted(uploads, "expired upload", "expired uploads")
    ))?;
    print_leased(leased)
}

fn print_leased(leased: u64) -> Result<(), Failure> {
    if leased == 0 {
        return Ok(());
    }
    output::print(format_args!(
        "left {} that a push may need, for ten minutes\n",
        counted(leased, "image or blob", "images and blobs")
    ))
}

/// Prints the space that is kept for now, and the settings that reclaim it.
pub(super) fn print_kept(kept: &GarbageKept) -> Result<(), Failure> {
    let line = |space: &GarbageSpace, text: String| {
        if space.manifests == 0 && space.bytes == 0 {
            return Ok(());
        }
        let more = if space.more { "at least " } else { "" };
        output::print(format_args!("kept: {more}{} {text}\n", output::human_size(space.bytes)))
    };
    let images = |space: &GarbageSpace| format!("in {}", counted(space.manifests, "image", "images"));
    let grace = period(kept.grace);
    line(
        &kept.deleted,
        format!(
            "in {}; they go after {grace} (gc.grace)",
            counted(kept.deleted.manifests, "deleted image", "deleted images")
        ),
    )?;
    line(
        &kept.untagged,
        match kept.untagged_after {
            Some(after) => format!(
                "{} without a tag; they go {} after their last use (gc.untagged)",
                images(&kept.untagged),
                period(after)
            ),
            None => format!(
                "{} without a tag; they stay unless gc.untagged is set, as in gc.untagged = \"30d\"",
                images(&kept.untagged)
            ),
        },
    )?;
    line(&kept.unused, "in uploads that no image needs yet (registry.upload_expiry)".to_owned())
}

/// Formats a duration in its largest whole unit: `7 days`, `36 hours`.
fn period(seconds: u64) -> String {
    const UNITS: [(u64, &str, &str); 3] =
        [(86_400, "day", "days"), (3600, "hour", "hours"), (60, "minute", "minutes")];
    let whole = |(unit, ..): &&(u64, _, _)| seconds > 0 && seconds.is_multiple_of(*unit);
    let (unit, one, many) = UNITS.iter().find(whole).unwrap_or(&(1, "second", "seconds"));
    output::counted(seconds / unit, one, many)
}

fn print_status(status: &GarbageStatus) -> Result<(), Failure> {
    if let Some(RunningCollection { started_at, step, collected }) = &status.running {
        output::print(format_args!(
            "a collection runs since {}; it removes {step} now, and has freed {} in {} files\n",
            time(*started_at),
            output::human_size(collected.bytes),
            collected.files
        ))?;
    }
    for RunningDeletion { repository, started_at, removed } in &status.deletions {
        output::print(format_args!(
            "the repository {repository} is being deleted since {}: {removed} tags, images and blobs so far\n",
            time(*started_at)
        ))?;
    }
    match (status.last_at, &status.last) {
        (Some(at), Some(last)) => {
            output::print(format_args!("last collection: {}\n", time(at)))?;
            print_collected(last)?;
        }
        _ => output::print("there was no collection since the server was started\n")?,
    }
    match status.interval {
        0 => output::print("no collections in the background (gc.interval)\n")?,
        interval => output::print(format_args!("interval: {} (gc.interval)\n", period(interval)))?,
    }
    print_kept(&status.kept)
}

fn print_preview(preview: &GarbagePreview, format: Format) -> Result<(), Failure> {
    if preview.removals.is_empty() {
        output::print("a collection would remove nothing now\n")?;
        return print_leased(preview.leased);
    }
    output::print_list(format, &preview.removals)?;
    output::print(format_args!(
        "\na collection would free {}{} in {}\n",
        if preview.more { "at least " } else { "" },
        output::human_size(preview.bytes),
        counted(preview.files, "file", "files")
    ))?;
    print_leased(preview.leased)
}

fn print_explanation(explained: &Explanation) -> Result<(), Failure> {
    let Explanation { digest, bytes, chains, goes_at } = explained;
    match bytes {
        Some(bytes) => output::print(format_args!("{digest}, {}\n", output::human_size(*bytes)))?,
        None => output::print(format_args!("{digest} is named by a manifest, and not stored here\n"))?,
    }
    for chain in chains {
        print_chain(chain)?;
    }
    match (chains.is_empty(), goes_at) {
        (true, Some(at)) => output::print(format_args!(
            "nothing keeps it; the first collection after {} deletes it\n",
            time(*at)
        )),
        (true, None) => output::print("nothing keeps it\n"),
        (false, _) => Ok(()),
    }
}

fn print_chain(chain: &KeepingChain) -> Result<(), Failure> {
    if let Some(repository) = &chain.repository {
        output::print(format_args!("in {repository}:\n"))?;
    }
    for (depth, link) in chain.links.iter().enumerate() {
        let kind = match link.kind.as_str() {
            "tag" => "tag",
            "subject" => "is the subject of the next one: manifest",
            "untagged" => "manifest without a tag",
            "deleted" => "deleted",
            "blob" => "blob",
            "upload" => "an upload in progress of",
            _ => "manifest",
        };
        output::print(format_args!("{:indent$}{kind} {}\n", "", link.name, indent = 2 * depth + 2))?;
    }
    match (chain.until, &chain.setting) {
        (Some(until), Some(setting)) => {
            output::print(format_args!("  until {} at the earliest ({setting})\n", time(until)))
        }
        (None, Some(setting)) => output::print(format_args!("  it stays, because {setting} is off\n")),
        _ => Ok(()),
    }
}

fn time(seconds: u64) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}
