//! The result of an import: the settings as TOML, and a finding for each key of the other program.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde::Serialize;

use super::super::definition::{Config, SECTIONS, Setting};
use super::yaml::Place;

/// The decision about a key of the other program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// These settings have its value.
    Taken { settings: Vec<&'static str> },
    /// No setting has this effect.
    NoCounterpart { reason: String },
    /// A registry without it would be open to more clients than before.
    Refused { reason: String },
    /// The other program ignores it.
    Unknown { reason: String },
}

pub(super) fn dropped(reason: impl Into<String>) -> Outcome {
    Outcome::NoCounterpart { reason: reason.into() }
}

pub(super) fn refused(reason: impl Into<String>) -> Outcome {
    Outcome::Refused { reason: reason.into() }
}

/// A key of the other program, with the decision about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub key: String,
    /// `config.yml line 3`, or the name of an environment variable.
    pub place: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Finding {
    pub(super) fn new(key: &str, file: Option<&PathBuf>, place: &Place, outcome: Outcome) -> Self {
        let place = match (place, file) {
            (Place::Line(line), Some(file)) => format!("{} line {line}", file.display()),
            (Place::Line(line), None) => format!("line {line}"),
            (Place::Variable(name), _) => name.clone(),
            (Place::ImageDefault, _) => "the registry image".to_owned(),
        };
        Self { key: key.to_owned(), place, outcome }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, place, outcome } = self;
        match outcome {
            Outcome::Taken { settings } if settings.is_empty() => {
                write!(formatter, "taken: {key} ({place}): it is the default here")
            }
            Outcome::Taken { settings } => {
                write!(formatter, "taken: {key} ({place}): {}", settings.join(", "))
            }
            Outcome::NoCounterpart { reason } => {
                write!(formatter, "no counterpart: {key} ({place}): {reason}")
            }
            Outcome::Refused { reason } => write!(formatter, "refused: {key} ({place}): {reason}"),
            Outcome::Unknown { reason } => write!(formatter, "unknown: {key} ({place}): {reason}"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Import {
    pub(super) config: Config,
    /// Each setting that was taken, with its source.
    pub(super) taken: Vec<(&'static str, String)>,
    pub findings: Vec<Finding>,
    /// Steps that the settings cannot express.
    pub notes: Vec<String>,
}

impl Import {
    /// The keys that were refused.
    pub fn refused(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Refused { .. }))
    }

    /// Renders the settings as a configuration file.
    pub fn toml(&self) -> String {
        let mut text =
            "# Imported by `wharfinger config import`. Check it with `wharfinger config check FILE`.\n"
                .to_owned();
        let source = |setting: &Setting| self.taken.iter().rfind(|(path, _)| *path == setting.path);
        for section in SECTIONS {
            let taken = section.settings.iter().filter_map(|setting| Some((setting, source(setting)?)));
            let taken: Vec<_> = taken.collect();
            if let Some(name) = section.name.filter(|_| !taken.is_empty()) {
                let _ = write!(text, "\n[{name}]");
            }
            for (setting, (_, source)) in taken {
                let value = (setting.write)(&self.config);
                let _ = write!(text, "\n# {source}\n{} = {value}\n", setting.key);
            }
        }
        text
    }

    /// Counts the findings: taken, without a counterpart, refused, unknown.
    pub fn summary(&self) -> String {
        let count =
            |is: fn(&Outcome) -> bool| self.findings.iter().filter(|finding| is(&finding.outcome)).count();
        format!(
            "{} keys: {} taken, {} without a counterpart, {} refused, {} unknown",
            self.findings.len(),
            count(|outcome| matches!(outcome, Outcome::Taken { .. })),
            count(|outcome| matches!(outcome, Outcome::NoCounterpart { .. })),
            count(|outcome| matches!(outcome, Outcome::Refused { .. })),
            count(|outcome| matches!(outcome, Outcome::Unknown { .. })),
        )
    }
}
