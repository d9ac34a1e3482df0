//! `wharfinger erase`: removes content at once.

use std::time::Duration;

use api::{Erase as Request, Erased};
use clap::Args;
use oci::TagOrDigest;
use oci::reference::Reference;
use reqwest::Method;

use super::output::{self, Failure, Format};
use super::target::Target;
use super::{confirmation, image};

/// Erase an image or a layer at once, without a way back, such as one with a secret in it
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Erase {
    /// The manifest or blob, by its digest
    #[arg(value_name = "REPOSITORY@DIGEST")]
    content: Reference,

    /// Also erase it from all other repositories
    #[arg(long)]
    everywhere: bool,

    /// Do not ask at a terminal; scripts are never asked
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
The content leaves the repository, its deleted images, the memory and the links below repositories/. Its file is \
deleted if no other repository holds the content; those that do are listed. Layers that only an erased image needed go \
with it. Erasing a layer leaves the images that need it, which then cannot be pulled: remove them as well. Copies that \
clients pulled are not affected, so replace the secret too.

Examples:
  wharfinger erase team/app@sha256:6c3c…
  wharfinger erase team/app@sha256:6c3c… --everywhere

Exit codes: 0 it is erased; 1 failure; 2 invalid command line.";

const TIMEOUT: Duration = Duration::from_secs(60 * 60);

impl Erase {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let named = self.content.to_string();
        if image::is_meant_as_digest(&named) {
            return Err(Failure::usage(format!("`{named}` names no repository")).help(format!(
                "write REPOSITORY@{named}; `wharfinger gc --explain {named}` shows the repositories that hold it"
            )));
        }
        let Some(TagOrDigest::Digest(digest)) = self.content.target else {
            return Err(Failure::usage(format!("`{}` names no digest", self.content)).help(format!(
                "write {}@sha256:…; `wharfinger inspect` shows the digests of an image and its layers",
                self.content.repository
            )));
        };
        if !self.yes && confirmation::is_possible() {
            confirmation::ask(&format!("Erase {} without a way back?", self.content))?;
        }
        let request =
            Request { repository: self.content.repository.clone(), digest, everywhere: self.everywhere };
        let erased: Erased = self
            .target
            .with(async |registry| {
                let post = registry.request(Method::POST, "/api/v1/erase").json(&request);
                registry.json(post.timeout(TIMEOUT)).await
            })
            .await?;
        if self.format.json {
            return output::print_json(&erased);
        }
        let names = erased.repositories.join(", ");
        output::print(format_args!("erased {digest} ({}) from {names}\n", output::human_size(erased.bytes)))?;
        if !erased.tags.is_empty() {
            output::print(format_args!("its tags are gone as well: {}\n", erased.tags.join(", ")))?;
        }
        if !erased.held_by.is_empty() {
            output::print(format_args!(
                "other repositories still hold it: {}; --everywhere erases it there\n",
                erased.held_by.join(", ")
            ))?;
        }
        Ok(())
    }
}
