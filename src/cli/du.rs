//! `wharfinger du`: the space used by each repository.

use api::{RepositoryUsage, RepositoryUsages, Usage};
use clap::Args;
use serde::Serialize;

use super::output::{self, Column, Failure, Format, Row};
use super::target::Target;

/// Show the space used by repositories
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct DiskUsage {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
SIZE is the size of all manifests, configs and layers of a repository, each digest counted once, as in `ls` and \
`check`. OWN is the part that no other repository needs. The total counts every digest once, even if several \
repositories need it. Content that no image needs is counted separately: unused uploads, and content of removed images.

Examples:
  wharfinger du
  wharfinger du --server http://localhost:5000 --json

Exit codes: 0 success; 1 failure; 2 invalid command line.";

/// The JSON output.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    total: Usage,
    by_repository: Vec<RepositoryUsage>,
}

impl Row for RepositoryUsage {
    const COLUMNS: &'static [Column] =
        &[Column::text("REPOSITORY"), Column::number("SIZE"), Column::number("OWN")];

    fn cells(&self) -> Vec<String> {
        vec![self.name.to_string(), output::human_size(self.bytes), output::human_size(self.own_bytes)]
    }
}

impl DiskUsage {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let report = self.target.with(async |registry| {
            let by_repository = registry.list::<RepositoryUsages>("/api/v1/usage/repositories", &[]).await?;
            Ok(Report { total: registry.get("/api/v1/usage").await?, by_repository })
        });
        let mut report = report.await?;
        if self.format.json {
            return output::print_json(&report);
        }
        report.by_repository.sort_by_key(|repository| std::cmp::Reverse(repository.bytes));
        output::print_list(self.format, &report.by_repository)?;
        let Usage { repositories, blobs, bytes, unreferenced_bytes } = report.total;
        let bytes = output::human_size(bytes);
        output::print(format_args!(
            "\n{bytes} in {blobs} manifests and blobs that the images of {repositories} repositories need\n"
        ))?;
        if unreferenced_bytes > 0 {
            let unreferenced = output::human_size(unreferenced_bytes);
            output::print(format_args!("{unreferenced} besides in content that no image needs\n"))?;
        }
        Ok(())
    }
}
