//! `wharfinger undo`: takes back the last change of a tag, or a retention run.

use std::time::UNIX_EPOCH;

use api::{RunTag, RunUndone, Undo, UndoRun, Undone};
use clap::Args;
use oci::reference::Reference;
use oci::{Digest, TagOrDigest};

use super::image;
use super::output::{self, Column, Failure, Format, Row};
use super::target::Target;
use super::times;

/// Take back the last change of a tag, or all deletions of a retention run
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct UndoChange {
    /// The tag: repository:tag
    #[arg(value_name = "REPOSITORY:TAG", required_unless_present = "run", conflicts_with = "run")]
    image: Option<Reference>,

    /// The state to go back to: a time (2h, yesterday, 2026-11-20T14:30:00Z), or a digest
    #[arg(long, value_name = "TIME|DIGEST", requires = "image", conflicts_with = "run")]
    to: Option<To>,

    /// The retention run to take back; `wharfinger history` and the audit log name it
    #[arg(long, value_name = "ID")]
    run: Option<String>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
A deleted image can be restored until the grace period of the garbage collection (gc.grace) has ended.

Examples:
  wharfinger undo team/app:latest
  wharfinger undo team/app:latest --to yesterday
  wharfinger undo team/app:latest --to sha256:6c3c…
  wharfinger undo --run 20261120-030000-4f2a

Exit codes: 0 success; 1 failure, or a tag is not back or cannot be pulled; 2 invalid command line.";

#[derive(Clone, Debug)]
enum To {
    Digest(Digest),
    Seconds(u64),
}

impl std::str::FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if image::is_meant_as_digest(text) {
            return text
                .parse()
                .map(Self::Digest)
                .map_err(|error: oci::digest::DigestError| error.to_string());
        }
        let time = times::since(text)?;
        Ok(Self::Seconds(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()))
    }
}

impl Row for RunTag {
    const COLUMNS: &'static [Column] =
        &[Column::text("TAG"), Column::text("DIGEST"), Column::text("RESULT").cut()];

    fn cells(&self) -> Vec<String> {
        let result = if self.reason.is_empty() { "restored".to_owned() } else { self.reason.clone() };
        vec![format!("{}:{}", self.repository, self.tag), self.digest.to_string(), result]
    }
}

impl UndoChange {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match (&self.image, &self.run) {
            (Some(image), _) => self.undo_tag(image).await,
            (None, Some(run)) => self.undo_run(run).await,
            (None, None) => Err(Failure::usage("neither a tag nor --run is given")),
        }
    }

    async fn undo_tag(&self, image: &Reference) -> Result<(), Failure> {
        let repository = &image.repository;
        let Some(TagOrDigest::Tag(tag)) = &image.target else {
            return Err(Failure::usage(format!("`{image}` names no tag"))
                .help(format!("write it as in {repository}:latest")));
        };
        let (to_digest, to_time) = match self.to {
            Some(To::Digest(digest)) => (Some(digest), None),
            Some(To::Seconds(seconds)) => (None, Some(seconds)),
            None => (None, None),
        };
        let undo = Undo { tag: tag.clone(), to_digest, to_time };
        let path = format!("/api/v1/repositories/{repository}/_undo");
        let undone: Undone = self.target.with(async |registry| registry.post(&path, &undo).await).await?;
        if self.format.json {
            output::print_json(&undone)?;
            return if undone.incomplete { Err(Failure::reported(output::Exit::Failed)) } else { Ok(()) };
        }
        let Undone { from, to, restored, incomplete, .. } = undone;
        match from {
            Some(from) if from == to => output::print(format_args!("{image} is {to} already\n"))?,
            Some(from) => output::print(format_args!("{image} is {to} again, instead of {from}\n"))?,
            None => output::print(format_args!("{image} is back: {to}\n"))?,
        }
        for tag in restored {
            output::print(format_args!("{repository}:{tag} came back with it\n"))?;
        }
        if incomplete {
            return Err(Failure::new(format!(
                "content of {image} is missing or damaged in the storage, so that it cannot be pulled"
            ))
            .help("push the image again, or restore the files that `wharfinger check` names"));
        }
        Ok(())
    }

    async fn undo_run(&self, run: &str) -> Result<(), Failure> {
        let request = UndoRun { run: run.to_owned() };
        let undone: RunUndone = self
            .target
            .with(async |registry| registry.post("/api/v1/retention/undo", &request).await)
            .await?;
        if self.format.json {
            output::print_json(&undone)?;
        } else {
            output::print_list(self.format, &undone.tags)?;
            output::print(format_args!(
                "\nback: {} of {}\n",
                undone.restored,
                output::counted(undone.tags.len(), "tag", "tags")
            ))?;
            if undone.restored > 0 {
                output::print("the next run deletes them again unless the rules change before it\n")?;
            }
        }
        if undone.tags.iter().all(|tag| tag.restored && !tag.incomplete) {
            Ok(())
        } else {
            Err(Failure::reported(output::Exit::Failed))
        }
    }
}
