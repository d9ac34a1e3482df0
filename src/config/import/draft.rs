//! The settings while they are imported.

use std::path::PathBuf;

use super::super::definition::{Config, settings};
use super::super::error::ConfigErrors;
use super::super::value::{RawValue, Refused};
use super::report::{Finding, Import, Outcome};
use super::yaml::Place;

/// Whether this version has a setting.
pub(super) fn is_setting(path: &str) -> bool {
    settings().any(|setting| setting.path == path)
}

/// Settings and findings so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    taken: Vec<(&'static str, String)>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    /// The file that is being read.
    pub(super) file: Option<PathBuf>,
    /// The key and the place that are being read.
    source: String,
}

impl Draft {
    /// Names the key whose value the next settings get.
    pub(super) fn at(&mut self, key: &str, place: &Place) {
        let finding = Finding::new(key, self.file.as_ref(), place, Outcome::Taken { settings: Vec::new() });
        self.source = format!("{}, {}", finding.key, finding.place);
    }

    /// Sets a setting. Values have the syntax of the file.
    ///
    /// # Errors
    /// Why the setting does not accept the value.
    pub(super) fn set(&mut self, path: &str, raw: &RawValue) -> Result<&'static str, String> {
        let Some(setting) = settings().find(|setting| setting.path == path) else {
            return Err(format!("this version has no setting `{path}`"));
        };
        (setting.read)(&mut self.config, raw).map_err(|Refused { part, hint }| {
            let fault = match part {
                Some(part) => part.wrong,
                None => format!("{raw} is not accepted by `{path}`; expected {}", (setting.expects)()),
            };
            match hint {
                Some(hint) => format!("{fault} ({hint})"),
                None => fault,
            }
        })?;
        self.taken.retain(|(taken, _)| *taken != setting.path);
        self.taken.push((setting.path, self.source.clone()));
        Ok(setting.path)
    }

    /// Sets a setting to a text.
    pub(super) fn set_text(&mut self, path: &str, text: &str) -> Result<&'static str, String> {
        self.set(path, &RawValue::String(text.to_owned()))
    }

    /// Sets a setting to a list of texts.
    pub(super) fn set_texts(&mut self, path: &str, texts: &[&str]) -> Result<&'static str, String> {
        let items = texts.iter().map(|text| RawValue::String((*text).to_owned())).collect();
        self.set(path, &RawValue::List(items))
    }

    /// Whether a setting has been taken from somewhere.
    pub(super) fn has(&self, path: &str) -> bool {
        self.taken.iter().any(|(taken, _)| *taken == path)
    }

    pub(super) fn find(&mut self, key: &str, place: &Place, outcome: Outcome) {
        let finding = Finding::new(key, self.file.as_ref(), place, outcome);
        self.findings.push(finding);
    }

    /// Adds a step that the operator has to take.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Completes the settings, and checks them against each other.
    pub(super) fn finish(mut self) -> Result<Import, ConfigErrors> {
        self.decide_openness();
        let mut mistakes = self.config.access_mistakes();
        mistakes.extend(self.config.tls_mistakes());
        let is_refused =
            self.findings.iter().any(|finding| matches!(finding.outcome, Outcome::Refused { .. }));
        // A refused key often explains a mistake, and is reported alone.
        if !mistakes.is_empty() && !is_refused {
            return Err(ConfigErrors(mistakes));
        }
        let Self { config, taken, findings, notes, .. } = self;
        Ok(Import { config, taken, findings, notes })
    }

    /// A registry that was open stays open, and a registry with accounts never serves without them.
    fn decide_openness(&mut self) {
        if super::has_accounts(&self.config) {
            "so that a lost file does not open the registry".clone_into(&mut self.source);
            // A switch accepts a boolean.
            let _ = self.set("auth.required", &RawValue::Boolean(true));
            let data = self.config.data.display();
            self.notes.push(format!(
                "in the old registry, every account pushed and pulled everything; here, each owns NAME/… alone. To keep \
                 the old rights, start the server and run: wharfinger grant add accounts pull,push '**' --data {data}"
            ));
            self.notes
                .push(format!("make an administrator: wharfinger user change NAME --admin --data {data}"));
        } else if !self.config.upstream.is_empty() {
            "a cache that everyone may pull from takes no pushes without an account"
                .clone_into(&mut self.source);
            // A switch accepts a boolean.
            let _ = self.set("auth.required", &RawValue::Boolean(true));
        } else if self.config.exposed(false).is_some() {
            "the old registry had no accounts, and everyone could push".clone_into(&mut self.source);
            let _ = self.set("open", &RawValue::Boolean(true));
            self.notes.push(
                "`open = true`: as before, everyone who reaches the port may pull, push, overwrite and delete. Make an \
                 account (wharfinger user add NAME --admin), and remove the line"
                    .to_owned(),
            );
        }
    }
}
