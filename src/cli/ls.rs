//! `wharfinger ls`: the repositories, or the tags of one.

use std::time::{Duration, UNIX_EPOCH};

use api::{Repositories, Repository, TagEntry, Tags};
use clap::Args;
use oci::RepositoryName;

use super::connection::Connection;
use super::output::{self, Column, Failure, Format, Row};
use super::target::Target;

/// List the repositories, or the tags of one
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct List {
    /// The repository whose tags to list
    #[arg(value_name = "REPOSITORY")]
    repository: Option<RepositoryName>,

    /// Also list the fallback tags of older clients for signatures and other referrers (sha256-…)
    #[arg(long, requires = "repository")]
    all: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
Examples:
  wharfinger ls
  wharfinger ls team/app
  wharfinger ls --server http://localhost:5000 --json

PULLED and PULLS count the requests for the manifest of a tag. Commands on a data directory do not count.

Without --server it works on the data directory, through its server if one is running.

Exit codes: 0 success; 1 failure; 2 invalid command line.";

impl Row for Repository {
    const COLUMNS: &'static [Column] = &[
        Column::text("REPOSITORY"),
        Column::number("TAGS"),
        Column::number("SIZE"),
        Column::text("PUSHED"),
        Column::text("DESCRIPTION").optional(),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            known(self.tags, |tags| tags.to_string()),
            known(self.bytes, output::human_size),
            known(self.updated_at, age),
            self.description.clone(),
        ]
    }
}

impl Row for TagEntry {
    const COLUMNS: &'static [Column] = &[
        Column::text("TAG"),
        Column::text("DIGEST"),
        Column::text("TYPE"),
        Column::text("PUSHED"),
        Column::text("PULLED"),
        Column::number("PULLS"),
    ];

    fn cells(&self) -> Vec<String> {
        let kind = if is_index(self.media_type.as_str()) { "index" } else { "image" };
        vec![
            self.tag.to_string(),
            self.digest.to_string(),
            kind.to_owned(),
            age(self.updated_at),
            self.pulled_at.map_or_else(|| "never".to_owned(), age),
            self.pulls.to_string(),
        ]
    }
}

/// A cell; `-` where a gateway does not know the value.
fn known(value: Option<u64>, spell: impl Fn(u64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), spell)
}

fn is_index(media_type: &str) -> bool {
    [oci::media_type::OCI_INDEX, oci::media_type::DOCKER_LIST].contains(&media_type)
}

pub(super) fn age(seconds: u64) -> String {
    output::human_age(UNIX_EPOCH + Duration::from_secs(seconds))
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let registry = self.target.connect().await?;
        match &self.repository {
            None => {
                let repositories = repositories(&registry).await;
                registry.close().await;
                output::print_list(self.format, &repositories?)
            }
            Some(repository) => {
                let tags = tags(&registry, repository, self.all).await;
                registry.close().await;
                output::print_list(self.format, &tags?)
            }
        }
    }
}

pub(super) async fn repositories(registry: &Connection) -> Result<Vec<Repository>, Failure> {
    registry.list::<Repositories>("/api/v1/repositories", &[]).await
}

async fn tags(
    registry: &Connection,
    repository: &RepositoryName,
    all: bool,
) -> Result<Vec<TagEntry>, Failure> {
    let all = if all { "true" } else { "false" };
    registry.list::<Tags>(&format!("/api/v1/repositories/{repository}/_tags"), &[("all", all)]).await
}
