//! `wharfinger history`: the changes of a tag, or of all tags of a repository.

use api::{History, HistoryEntry};
use clap::Args;
use oci::TagOrDigest;
use oci::reference::Reference;

use super::ls::age;
use super::output::{self, Column, Failure, Format, Row};
use super::target::Target;

/// Show each move and deletion of a tag: when, by whom, from and to which image
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct TagHistory {
    /// repository for all of its tags, or repository:tag
    #[arg(value_name = "REPOSITORY[:TAG]")]
    image: Reference,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
The latest change comes first. A repository that was deleted keeps its history for a year.

Examples:
  wharfinger history team/app:latest
  wharfinger history team/app --json
  wharfinger undo team/app:latest --to sha256:6c3c…

Exit codes: 0 success; 1 failure; 2 invalid command line.";

impl Row for HistoryEntry {
    const COLUMNS: &'static [Column] = &[
        Column::text("WHEN"),
        Column::text("TAG"),
        Column::text("FROM"),
        Column::text("TO"),
        Column::text("BY"),
        Column::text("WHY").optional(),
    ];

    fn cells(&self) -> Vec<String> {
        let digest =
            |digest: Option<oci::Digest>| digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
        let mut why = self.reason.clone().unwrap_or_default();
        if let Some(run) = &self.run {
            why = format!("{why} (run {run})");
        }
        vec![
            age(self.at),
            self.tag.to_string(),
            digest(self.from),
            digest(self.to),
            self.account.clone().unwrap_or_else(|| "anonymous".to_owned()),
            why,
        ]
    }
}

impl TagHistory {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let repository = &self.image.repository;
        let tag = match &self.image.target {
            Some(TagOrDigest::Digest(_)) => {
                return Err(Failure::usage(format!(
                    "`{}` names a digest, and digests never change",
                    self.image
                ))
                .help(format!("name a tag, as in {repository}:latest, or only the repository")));
            }
            Some(TagOrDigest::Tag(tag)) => Some(tag),
            None => None,
        };
        let path = format!("/api/v1/repositories/{repository}/_history");
        let filters: Vec<(&str, &str)> = tag.iter().map(|tag| ("tag", tag.as_str())).collect();
        let entries =
            self.target.with(async |registry| registry.list::<History>(&path, &filters).await).await?;
        output::print_list(self.format, &entries)
    }
}
