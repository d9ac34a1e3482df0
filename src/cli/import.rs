//! `wharfinger config import`: the configuration of distribution's registry, or of nginx before it, as a
//! `wharfinger.toml`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::output::{self, Exit, Failure, Format};
use crate::config::{Finding, Import as Imported, ImportSources, import, registry_variables};

/// Print the configuration of a registry:2 or registry:3, or of nginx before it, as a wharfinger.toml
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Import {
    /// A config.yml of the registry, a file of nginx, or both; "-" is standard input. Without a file, the
    /// configuration of the registry image with the variables REGISTRY_…
    #[arg(value_name = "FILE", num_args = 0..=2)]
    files: Vec<PathBuf>,

    /// A file of lines NAME=VALUE, as for `docker run --env-file`, with variables REGISTRY_…
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,

    #[command(flatten)]
    format: Format,
}

const HELP: &str = "\
The settings go to standard output. Standard error lists each key: taken, without a counterpart and why, or refused \
because the registry would be open without it. Variables REGISTRY_… of the environment override keys of config.yml.

Examples:
  wharfinger config import /etc/docker/registry/config.yml > wharfinger.toml
  wharfinger config import config.yml registry.conf > wharfinger.toml
  REGISTRY_HTTP_ADDR=:5000 wharfinger config import
  wharfinger config check wharfinger.toml

Exit codes: 0 the settings were printed; 1 a key was refused or a file cannot be read, and nothing was printed; 2 \
invalid command line.";

impl Import {
    pub(super) fn run(self) -> Result<(), Failure> {
        let process = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut environment = registry_variables(process);
        if let Some(path) = &self.env_file {
            environment.extend(registry_variables(lines_of(&read(path)?)));
        }
        if self.files.is_empty() && environment.is_empty() {
            return Err(Failure::usage("there is nothing to import").help(
                "name a file (config.yml, or nginx's), or set variables REGISTRY_… with --env-file or in the environment",
            ));
        }
        let files = self.files.iter().map(|path| Ok((path.clone(), read(path)?)));
        let sources = ImportSources { files: files.collect::<Result<_, Failure>>()?, environment };
        let imported = import(&sources).map_err(|errors| Failure::from(errors).exit(Exit::Failed))?;
        let is_refused = imported.refused().next().is_some();
        if self.format.json {
            output::print_json(&Report::of(&imported, is_refused))?;
        } else {
            imported.findings.iter().for_each(|finding| output::remark(format_args!("{finding}\n")));
            imported.notes.iter().for_each(|note| output::remark(format_args!("note: {note}\n")));
            output::remark(format_args!("{}\n", imported.summary()));
            if !is_refused {
                output::print(imported.toml())?;
            }
        }
        if is_refused {
            return Err(Failure::new("keys were refused, because a registry without them would be open")
                .help("do what their lines say, and run the command again"));
        }
        Ok(())
    }
}

/// The JSON output.
#[derive(Serialize)]
struct Report<'a> {
    /// The settings, unless a key was refused.
    toml: Option<String>,
    keys: &'a [Finding],
    notes: &'a [String],
}

impl<'a> Report<'a> {
    fn of(imported: &'a Imported, is_refused: bool) -> Self {
        let toml = (!is_refused).then(|| imported.toml());
        Self { toml, keys: &imported.findings, notes: &imported.notes }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let result = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text =
        result.map_err(|error| Failure::new(format!("cannot read {}", path.display())).because(&error))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The variables of a file for `docker run --env-file`. Values are taken as they are, without quotes.
fn lines_of(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
