//! `wharfinger config`: what can be set, and what is.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{self, Column, Exit, Failure, Format, Row};
use super::settings::Settings;
use crate::config::{Effective, Loaded, Mistake, Mistakes, USUAL_FILES, template};
use crate::{serve, tls};

/// Show the settings there are, or check those that are in force
#[derive(Args, Debug)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a configuration file with every setting, described, its default commented out
    #[command(after_help = "Example:\n  wharfinger config example > wharfinger.toml")]
    Example,
    Check(Box<Check>),
}

/// Say everything that is wrong with the configuration, or what is in force and where each value comes from
#[derive(Args, Debug)]
#[command(after_help = CHECK_HELP)]
struct Check {
    /// The configuration file, if not the one that `serve` would take
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    format: Format,
}

const CHECK_HELP: &str = "\
It reads what `wharfinger serve` would read: the file, the variables WHARFINGER_… of the environment, and the \
same flags.

Examples:
  wharfinger config check
  wharfinger config check /etc/wharfinger/wharfinger.toml --json
  wharfinger config check --listen :5000

Exit codes: 0 `serve` would start with it; 1 something is wrong with it; 2 the command line is wrong.";

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Example => output::print(template()),
            Command::Check(check) => check.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<(), Failure> {
        let loaded = self.settings.or_file(self.file).load();
        let checked = loaded.and_then(|loaded| {
            let exposed = serve::refused(&loaded.config, None);
            let wrong: Vec<Mistake> = exposed.into_iter().chain(without_https(&loaded.config)).collect();
            if wrong.is_empty() { Ok(loaded) } else { Err(Mistakes(wrong)) }
        });
        match checked {
            Ok(loaded) if self.format.json => output::print_json(&Report::of(&loaded)),
            Ok(loaded) => {
                output::print(format_args!("{}\n\n", source(&loaded)))?;
                output::print_list(self.format, &loaded.effective())
            }
            Err(Mistakes(mistakes)) if self.format.json => {
                output::print_json(&Report { mistakes, ..Report::default() })?;
                Err(Failure::told(Exit::Failed))
            }
            Err(mistakes) => Err(Failure::from(mistakes).exit(Exit::Failed)),
        }
    }
}

/// Why HTTPS could not be spoken, if it is asked for.
fn without_https(config: &crate::config::Config) -> Option<Mistake> {
    let error = tls::check(config).err()?;
    Some(Mistake { message: format!("cannot speak HTTPS: {error}"), excerpt: None, help: None })
}

/// What `--json` prints.
#[derive(Default, Serialize)]
struct Report {
    file: Option<PathBuf>,
    mistakes: Vec<Mistake>,
    settings: Vec<Effective>,
}

impl Report {
    fn of(loaded: &Loaded) -> Self {
        Self { file: loaded.file.clone(), mistakes: Vec::new(), settings: loaded.effective() }
    }
}

/// Which file was read, for people.
fn source(loaded: &Loaded) -> String {
    match &loaded.file {
        Some(file) => format!("Read {}; nothing is wrong with it.", file.display()),
        None => format!("There is no configuration file ({}).", USUAL_FILES.join(", ")),
    }
}

impl Row for Effective {
    const COLUMNS: &'static [Column] =
        &[Column::text("SETTING"), Column::text("VALUE"), Column::text("FROM")];

    fn cells(&self) -> Vec<String> {
        vec![self.key.to_owned(), self.value.to_string(), self.origin.to_string()]
    }
}
