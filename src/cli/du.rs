//! `wharfinger du`: how much space the images take, and which repository takes it.

use api::{RepositoryUsage, RepositoryUsages, Usage};
use clap::Args;
use serde::Serialize;

use super::output::{self, Column, Failure, Format, Row};
use super::target::Target;

/// Say how much space the repositories take
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct DiskUsage {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
SIZE is what the images of a repository need: manifests, configs and layers, each digest counted once, as in `ls` and \
`check`. OWN is the part of it that the images of no other repository need. The total counts every digest once, however \
many repositories need it. What no image needs is counted apart: uploads that were never used, and what removed images \
left behind.

Examples:
  wharfinger du
  wharfinger du --server http://localhost:5000 --json

Exit codes: 0 done; 1 failed; 2 the command line is wrong.";

/// What `--json` prints.
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
