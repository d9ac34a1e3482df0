//! `wharfinger search`: the results of `docker search`.

use clap::Args;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::output::{self, Column, Failure, Format, Row};
use super::target::Target;

/// Find repositories by words, or parts of words, of their names and descriptions
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Search {
    /// The words to find; all of them must match
    #[arg(value_name = "WORD", required = true)]
    words: Vec<String>,

    /// The largest number of results
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 25,
          value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
Examples:
  wharfinger search ubuntu
  wharfinger search web front --server http://localhost:5000 --json

Exit codes: 0 found; 1 nothing found, or failure; 2 invalid command line.";

#[derive(Deserialize)]
struct Found {
    num_results: u64,
    results: Vec<Hit>,
}

/// A result, without the stars and badges of the public hub.
#[derive(Deserialize, Serialize)]
struct Hit {
    name: String,
    description: String,
}

impl Row for Hit {
    const COLUMNS: &'static [Column] = &[Column::text("NAME"), Column::text("DESCRIPTION").optional()];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.description.clone()]
    }
}

impl Search {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let registry = self.target.connect().await?;
        let query = [("q", self.words.join(" ")), ("n", self.limit.to_string())];
        let answer = registry.send(registry.request(Method::GET, "/v1/search").query(&query)).await;
        let found: Result<Found, Failure> = match answer {
            Ok(answer) => answer
                .json()
                .await
                .map_err(|error| Failure::new("the server's answer is not a search result").because(&error)),
            Err(failure) => Err(failure),
        };
        registry.close().await;
        let found = found?;
        output::print_list(self.format, &found.results)?;
        if found.results.is_empty() {
            return Err(Failure::new(format!("nothing matches {}", self.words.join(" "))));
        }
        let rest = found.num_results.saturating_sub(found.results.len() as u64);
        if rest > 0 && !self.format.json {
            output::print(format_args!("… and {rest} more; --limit shows up to 100\n"))?;
        }
        Ok(())
    }
}
