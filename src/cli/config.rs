//! `wharfinger config`: prints the template of the configuration, checks a configuration, and imports others.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::import::Import;
use super::output::{self, Column, Exit, Failure, Format, Row};
use super::settings::Settings;
use crate::config::{
    ConfigError, ConfigErrors, Effective, Loaded, USUAL_FILES, retention_warnings, template,
};
use crate::operator_file;
use crate::{serve, tls};

/// Show all settings, check the configuration in force, or import that of another registry
#[derive(Args, Debug)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a configuration file with every setting, its description, and its default commented out
    #[command(after_help = "Example:\n  wharfinger config example > wharfinger.toml")]
    Example,
    Check(Box<Check>),
    Import(Import),
}

/// List all errors of the configuration, or else the settings in force with the origin of each value
#[derive(Args, Debug)]
#[command(after_help = CHECK_HELP)]
struct Check {
    /// The configuration file [default: the one that `serve` would read]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    format: Format,
}

const CHECK_HELP: &str = "\
It reads the same sources as `wharfinger serve`: the file, the environment variables WHARFINGER_…, and the same \
flags.

Examples:
  wharfinger config check
  wharfinger config check /etc/wharfinger/wharfinger.toml --json
  wharfinger config check --listen :5000

Exit codes: 0 `serve` would start with it; 1 it has errors; 2 invalid command line.";

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Example => output::print(template()),
            Command::Check(check) => check.run(),
            Command::Import(import) => import.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<(), Failure> {
        let (loaded, mut mistakes) = self.settings.or_file(self.file).read();
        let concern = |settings: &[&str]| mistakes.iter().any(|error| error.may_concern(settings));
        let (address_is_known, tls_is_known) =
            (!concern(&["listen", "open", "auth", "data"]), !concern(&["tls"]));
        let config = &loaded.config;
        if address_is_known {
            mistakes.extend(serve::refused(config, None));
        }
        let unreadable = unreadable_files(config);
        let tls_is_readable = !unreadable.iter().any(|error| error.may_concern(&["tls"]));
        mistakes.extend(unreadable);
        if tls_is_known && tls_is_readable {
            mistakes.extend(without_https(config));
        }
        match (mistakes.is_empty(), self.format.json) {
            (true, true) => output::print_json(&Report::of(&loaded)),
            (true, false) => {
                output::print(format_args!("{}\n", source(&loaded)))?;
                for warning in retention_warnings(&config.retention) {
                    output::print(format_args!("Warning: {warning}\n"))?;
                }
                output::print("\n")?;
                output::print_list(self.format, &loaded.effective())
            }
            (false, true) => {
                output::print_json(&Report { errors: mistakes.clone(), mistakes, ..Report::default() })?;
                Err(Failure::reported(Exit::Failed))
            }
            (false, false) => Err(Failure::from(ConfigErrors(mistakes)).exit(Exit::Failed)),
        }
    }
}

/// Refuses files of settings that a server cannot use, before it makes a data directory.
///
/// # Errors
/// All mistakes.
pub(super) fn check_files(config: &crate::config::Config) -> Result<(), ConfigErrors> {
    let mut mistakes = unreadable_files(config);
    if mistakes.is_empty() {
        mistakes.extend(without_https(config));
    }
    if mistakes.is_empty() { Ok(()) } else { Err(ConfigErrors(mistakes)) }
}

/// Reports all files that settings name and that cannot be read.
fn unreadable_files(config: &crate::config::Config) -> Vec<ConfigError> {
    let is_gateway = !config.gateway.upstreams.is_empty();
    let files = [
        ("auth.htpasswd", &config.auth.htpasswd),
        ("tls.certificate", &config.tls.certificate),
        ("tls.key", &config.tls.key),
        ("tls.acme.ca", &config.acme.ca),
        ("tls.acme.external_account", &config.acme.external_account),
        ("gateway.credentials", if is_gateway { &config.gateway.credentials } else { &None }),
        ("gateway.certificates", if is_gateway { &config.gateway.certificates } else { &None }),
    ];
    let files = files.into_iter().filter_map(|(setting, file)| Some((setting, file.as_ref()?)));
    let unreadable = files.filter_map(|(setting, file)| {
        let error = operator_file::read(file).err()?;
        let message = format!("cannot read {}, which {setting} names: {error}", file.display());
        Some(ConfigError::new(message).about(setting))
    });
    unreadable.collect()
}

/// The reason why the configured HTTPS does not work, if any.
fn without_https(config: &crate::config::Config) -> Option<ConfigError> {
    let error = tls::check(config).err()?;
    Some(ConfigError::new(format!("cannot serve HTTPS: {error}")))
}

/// The JSON output.
#[derive(Default, Serialize)]
struct Report {
    file: Option<PathBuf>,
    /// Named as in the output of `reload`.
    errors: Vec<ConfigError>,
    /// The older name of `errors`.
    mistakes: Vec<ConfigError>,
    warnings: Vec<String>,
    settings: Vec<Effective>,
}

impl Report {
    fn of(loaded: &Loaded) -> Self {
        Self {
            file: loaded.file.clone(),
            errors: Vec::new(),
            mistakes: Vec::new(),
            warnings: retention_warnings(&loaded.config.retention),
            settings: loaded.effective(),
        }
    }
}

/// Names the file that was read, for people.
fn source(loaded: &Loaded) -> String {
    match &loaded.file {
        Some(file) => format!("Read {}; nothing is wrong with it.", file.display()),
        None => format!("There is no configuration file ({}).", USUAL_FILES.join(", ")),
    }
}

impl Row for Effective {
    const COLUMNS: &'static [Column] =
        &[Column::text("SETTING"), Column::text("VALUE").cut(), Column::text("FROM").cut()];

    fn cells(&self) -> Vec<String> {
        vec![self.key.to_owned(), self.value.to_string(), self.origin.to_string()]
    }
}
