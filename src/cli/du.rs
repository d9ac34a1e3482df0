//! `wharfinger du`: the space used by each repository.

use api::{GarbageKept, GarbageStatus, QuotaEntry, Quotas, RepositoryUsage, RepositoryUsages, Usage};
use clap::Args;
use reqwest::Method;
use serde::Serialize;

use super::gc;
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
repositories need it. Layers that were fetched from an upstream count with the cached image. Content that no image needs \
is counted separately: unused uploads, and content of removed images.

A quota counts the manifests, configs and layers of its repositories, also layers that no image needs yet. Content that \
several repositories of one quota share counts once. Layers of a deleted image count until gc.grace has passed; \
those of a deleted repository do not.

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
    /// The space that garbage collection does not free yet, for administrators.
    kept: Option<GarbageKept>,
    quotas: Vec<QuotaEntry>,
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
            let quotas =
                registry.supported::<Quotas>(registry.request(Method::GET, "/api/v1/usage/quotas")).await?;
            let quotas = quotas.map(|quotas| quotas.quotas).unwrap_or_default();
            let garbage: Option<GarbageStatus> =
                registry.permitted(registry.request(Method::GET, "/api/v1/gc")).await?;
            let kept = garbage.map(|status| status.kept);
            Ok(Report { total: registry.get("/api/v1/usage").await?, by_repository, kept, quotas })
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
            "\n{bytes} in {} that the images of {} need\n",
            output::counted(blobs, "manifest or blob", "manifests and blobs"),
            output::counted(repositories, "repository", "repositories")
        ))?;
        if unreferenced_bytes > 0 {
            let unreferenced = output::human_size(unreferenced_bytes);
            output::print(format_args!("{unreferenced} besides in content that no image needs\n"))?;
        }
        if let Some(kept) = &report.kept {
            gc::print_kept(kept)?;
        }
        if !report.quotas.is_empty() {
            output::print("\n")?;
            output::print_list(self.format, &report.quotas)?;
        }
        Ok(())
    }
}

impl Row for QuotaEntry {
    const COLUMNS: &'static [Column] = &[
        Column::text("QUOTA"),
        Column::number("USED"),
        Column::number("LIMIT"),
        Column::number("TAGS"),
        Column::number("LIMIT"),
    ];

    fn cells(&self) -> Vec<String> {
        let limit = |limit: Option<String>| limit.unwrap_or_else(|| "-".to_owned());
        vec![
            self.scope.clone(),
            output::human_size(self.bytes),
            limit(self.max_bytes.map(output::human_size)),
            self.tags.to_string(),
            limit(self.max_tags.map(|tags| tags.to_string())),
        ]
    }
}
