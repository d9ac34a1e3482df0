//! `wharfinger rm`: removes tags, images and repositories.

use api::Repository;
use clap::Args;
use oci::TagOrDigest;
use oci::reference::Reference;
use reqwest::Method;
use serde::Serialize;

use super::confirmation;
use super::connection::Connection;
use super::image;
use super::output::{self, Failure, Format, counted};
use super::target::Target;

/// Remove a tag, an image with all of its tags, or a whole repository
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Remove {
    /// repository:tag removes only the tag; repository@digest removes the image with all of its tags;
    /// repository removes everything in it, with --all
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<Reference>,

    /// Remove the whole repository if neither tag nor digest is named
    #[arg(long)]
    all: bool,

    /// Do not ask before a repository is removed
    #[arg(long, short = 'y')]
    yes: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
Other tags and other repositories are not affected.

Examples:
  wharfinger rm team/app:1.4.2
  wharfinger rm team/app@sha256:6c3c…
  wharfinger rm --all --yes team/experiment

Exit codes: 0 everything was removed; 1 failure; 2 invalid command line.";

#[derive(Serialize)]
struct Removed {
    removed: Vec<String>,
}

impl Remove {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if let Some(whole) = self.images.iter().find(|image| image.target.is_none())
            && !self.all
        {
            return Err(Failure::usage(format!("`{whole}` names a whole repository")).help(format!(
                "name a tag, as in {whole}:latest, or use --all to remove the whole repository"
            )));
        }
        let registry = self.target.connect().await?;
        let mut removed = Vec::new();
        let mut outcome = Ok(());
        for image in &self.images {
            outcome = self.remove(&registry, image).await;
            if outcome.is_err() {
                break;
            }
            removed.push(image.to_string());
            if !self.format.json {
                output::print(format_args!("removed {image}\n"))?;
            }
        }
        registry.close().await;
        if self.format.json {
            output::print_json(&Removed { removed })?;
        }
        outcome
    }

    async fn remove(&self, registry: &Connection, image: &Reference) -> Result<(), Failure> {
        let path = match &image.target {
            Some(target) => format!("/v2/{}/manifests/{target}", image.repository),
            None => {
                let path = format!("/api/v1/repositories/{}", image.repository);
                if !self.yes {
                    let repository: Repository = registry.get(&path).await?;
                    confirm(&repository)?;
                }
                path
            }
        };
        let removed = registry.find(registry.request(Method::DELETE, &path)).await?;
        match (removed, &image.target) {
            (Some(_), _) => Ok(()),
            (None, Some(TagOrDigest::Tag(_) | TagOrDigest::Digest(_))) => {
                Err(image::not_found(registry, image))
            }
            (None, None) => Err(Failure::new(format!("there is no repository {image}"))
                .help(format!("{} lists what is there", registry.command("ls")))),
        }
    }
}

/// Asks for confirmation at the terminal; an error without one.
fn confirm(repository: &Repository) -> Result<(), Failure> {
    let what = format!(
        "{} with {} and {}",
        repository.name,
        counted(repository.tags.unwrap_or_default(), "tag", "tags"),
        counted(repository.manifests.unwrap_or_default(), "image", "images")
    );
    if !confirmation::is_possible() {
        return Err(Failure::usage(format!("this would remove {what}")).help("confirm with --yes"));
    }
    confirmation::ask(&format!("Remove {what}?"))
}
