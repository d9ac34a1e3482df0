//! Loads the configuration. Flags override the environment, that overrides the file, and that the defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use registry::backup::ConfigurationFile;
use serde::Serialize;

use super::definition::{Config, Setting, settings};
use super::environment::CONFIG_VARIABLE;
use super::error::{ConfigError, ConfigErrors, Excerpt};
use super::value::{RawValue, Refused, TomlValue};
use super::{environment, file, webhook};
use crate::byte_order_mark;
use crate::operator_file;

/// The paths of the configuration file if none is named; the first that exists is used.
pub const USUAL_FILES: [&str; 2] = ["wharfinger.toml", "/etc/wharfinger/wharfinger.toml"];

#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
}

/// A command-line flag for a setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// The flag as it is typed: `--listen`.
    pub name: &'static str,
    /// The path of the setting: `listen`.
    pub setting: &'static str,
    pub value: String,
}

/// The source of a setting's value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "source", rename_all = "lowercase")]
pub enum Origin {
    Default,
    File { file: PathBuf, line: usize },
    Environment { variable: String },
    Flag { flag: &'static str },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(formatter, "default"),
            Self::File { file, line } => write!(formatter, "{} line {line}", file.display()),
            Self::Environment { variable } => write!(formatter, "{variable}"),
            Self::Flag { flag } => write!(formatter, "{flag}"),
        }
    }
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
}

/// A setting with its value and origin.
#[derive(Clone, Debug, Serialize)]
pub struct Effective {
    pub key: &'static str,
    /// In the syntax of the file.
    pub value: TomlValue,
    #[serde(flatten)]
    pub origin: Origin,
}

impl Loaded {
    /// Lists every setting with its value and origin, in the order of the template.
    pub fn effective(&self) -> Vec<Effective> {
        let effective = |setting: &'static Setting| Effective {
            key: setting.path,
            value: match setting.path {
                "webhook" => webhook::without_secrets((setting.write)(&self.config)),
                _ => (setting.write)(&self.config),
            },
            origin: self.origin(setting.path),
        };
        settings().map(effective).collect()
    }

    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Default)
    }
}

impl Config {
    /// Returns the files that hold the configuration, for a backup: the configuration file and the htpasswd
    /// file. The key of a certificate of the operator is not among them.
    #[must_use]
    pub(crate) fn files(&self) -> Vec<ConfigurationFile> {
        let file = |name: &str, path: &Option<PathBuf>| {
            let path = path.clone()?;
            Some(ConfigurationFile { name: name.to_owned(), path })
        };
        [file("wharfinger.toml", &self.source), file("htpasswd", &self.auth.htpasswd)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Loads the configuration.
    ///
    /// # Errors
    /// All errors at once.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let (loaded, mistakes) = Self::read(sources);
        if mistakes.is_empty() { Ok(loaded) } else { Err(ConfigErrors(mistakes)) }
    }

    /// Loads the configuration for a command that uses the settings `needed` alone. Errors that cannot change
    /// them are counted and left to the server, so that a mistake elsewhere in the file stops no command on a
    /// running server.
    ///
    /// # Errors
    /// All errors, if one of them may concern a needed setting.
    pub fn load_for(sources: &Sources, needed: &[&str]) -> Result<(Loaded, ConfigErrors), ConfigErrors> {
        let (loaded, mistakes) = Self::read(sources);
        let concerns = |error: &ConfigError| {
            needed.iter().any(|setting| may_change(error, setting, &loaded.origin(setting)))
        };
        if mistakes.iter().any(concerns) {
            return Err(ConfigErrors(mistakes));
        }
        Ok((loaded, ConfigErrors(mistakes)))
    }

    /// Loads the configuration as far as possible. A setting with an error keeps its default.
    pub fn read(sources: &Sources) -> (Loaded, Vec<ConfigError>) {
        let mut loading = Loading::default();
        let file = choose_file(sources);
        if let Some(chosen) = &file {
            loading.file(chosen);
        }
        loading.environment(&sources.environment);
        for flag in &sources.flags {
            loading.flag(flag);
        }
        // A setting with an error has its default here, which must not be checked against other settings.
        if !loading.mistakes.iter().any(|error| error.may_concern(&["listen", "open", "auth"])) {
            loading.mistakes.extend(loading.config.access_mistakes());
        }
        if !loading.mistakes.iter().any(|error| error.may_concern(&["tls", "listen"])) {
            loading.mistakes.extend(loading.config.tls_mistakes());
        }
        let file = file.map(|file| file.path);
        loading.config.source.clone_from(&file);
        (Loaded { config: loading.config, file, origins: loading.origins }, loading.mistakes)
    }
}

/// Whether the value of a setting, which has this origin, may be another one when the error is corrected.
fn may_change(error: &ConfigError, setting: &str, origin: &Origin) -> bool {
    let Some(about) = &error.about else {
        // A file that cannot be read, or a syntax error in it.
        return matches!(origin, Origin::Default | Origin::File { .. });
    };
    let is_about = |path: &str| {
        path.strip_prefix(about.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if settings().any(|known| is_about(known.path)) {
        return is_about(setting);
    }
    // An unknown name may be a misspelled one of this setting.
    let is_variable = about.starts_with(environment::PREFIX);
    match origin {
        Origin::Default => true,
        Origin::File { .. } | Origin::Environment { .. } => is_variable,
        Origin::Flag { .. } => false,
    }
}

struct ChosenFile {
    path: PathBuf,
    /// Tells in the error message why this file is read.
    by: &'static str,
}

fn choose_file(sources: &Sources) -> Option<ChosenFile> {
    if let Some(path) = &sources.file {
        return Some(ChosenFile { path: path.clone(), by: "which the command line names" });
    }
    let variable =
        sources.environment.iter().find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
    if let Some((_, path)) = variable {
        return Some(ChosenFile { path: path.into(), by: "which WHARFINGER_CONFIG names" });
    }
    let usual = USUAL_FILES.iter().map(PathBuf::from);
    // A file that cannot be accessed is chosen too, so that reading it reports the reason.
    let mut usual = usual.filter(|path| match path.try_exists() {
        Ok(exists) => exists,
        // The working directory may be closed to this user: that of root, for the user of the service.
        Err(error) => path.is_absolute() || error.kind() != std::io::ErrorKind::PermissionDenied,
    });
    usual.next().map(|path| ChosenFile { path, by: "which is there" })
}

#[derive(Default)]
struct Loading {
    config: Config,
    origins: BTreeMap<&'static str, Origin>,
    mistakes: Vec<ConfigError>,
}

impl Loading {
    fn file(&mut self, chosen: &ChosenFile) {
        let path: &Path = &chosen.path;
        let text = match operator_file::read(path) {
            Ok(bytes) => byte_order_mark::strip(&bytes).to_vec(),
            Err(error) => {
                let message = format!("cannot read {}, {}: {error}", path.display(), chosen.by);
                self.mistakes.push(ConfigError::new(message));
                return;
            }
        };
        let text = match String::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                let place = Excerpt::new(path, &text, valid);
                // Do not print binary bytes to a terminal.
                self.mistakes.push(ConfigError::new(format!("{place} is not UTF-8: is it the right file?")));
                return;
            }
        };
        let (entries, mistakes) = file::read(path, &text);
        self.mistakes.extend(mistakes);
        for file::Entry { setting, raw, place } in entries {
            let origin = Origin::File { file: place.file.clone(), line: place.line };
            self.take(setting, &raw, origin, Some(place));
        }
        // Syntax errors and invalid values in one order, so that the operator goes through the file once.
        self.mistakes.sort_by_key(|error| error.excerpt.as_ref().map(|place| place.line));
    }

    fn environment(&mut self, variables: &[(OsString, OsString)]) {
        let (entries, mistakes) = environment::read(variables);
        self.mistakes.extend(mistakes);
        for environment::Entry { setting, variable, value } in entries {
            self.take(setting, &RawValue::Text(value), Origin::Environment { variable }, None);
        }
    }

    fn flag(&mut self, flag: &Flag) {
        match settings().find(|setting| setting.path == flag.setting) {
            Some(setting) => {
                self.take(
                    setting,
                    &RawValue::Text(flag.value.clone()),
                    Origin::Flag { flag: flag.name },
                    None,
                );
            }
            // Unreachable unless a flag is misspelled in the code. Report it instead of panicking.
            None => self.mistakes.push(ConfigError::new(format!(
                "{} is a flag for the unknown setting `{}`",
                flag.name, flag.setting
            ))),
        }
    }

    fn take(&mut self, setting: &'static Setting, raw: &RawValue, origin: Origin, place: Option<Excerpt>) {
        match (setting.read)(&mut self.config, raw) {
            Ok(()) => {
                self.origins.insert(setting.path, origin);
            }
            Err(Refused { part, hint }) => {
                let within = part.as_ref().and_then(|part| part.place.clone());
                let origin = match &within {
                    Some(place) => Origin::File { file: place.file.clone(), line: place.line },
                    None => origin,
                };
                let what = match &origin {
                    Origin::Default => format!("`{}`", setting.path),
                    Origin::File { .. } => format!("`{}` in {origin}", setting.path),
                    Origin::Environment { variable } => format!("{variable} in the environment"),
                    Origin::Flag { flag } => (*flag).to_owned(),
                };
                let message = match part {
                    Some(part) => format!("{what}: {}", part.wrong),
                    None => format!("{what} is {raw}; expected {}", (setting.expects)()),
                };
                self.mistakes.push(ConfigError {
                    message,
                    excerpt: within.or(place),
                    help: hint,
                    about: Some(setting.path.to_owned()),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        file: &str,
        environment: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Result<Loaded, Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wharfinger.toml");
        std::fs::write(&path, file).unwrap();
        let sources = Sources {
            file: Some(path),
            environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            flags: flags
                .iter()
                .map(|(setting, value)| Flag { name: "--flag", setting, value: (*value).to_owned() })
                .collect(),
        };
        let root = format!("{}/", directory.path().display());
        let mut loaded = Config::load(&sources).map_err(|mistakes| -> Vec<String> {
            mistakes.0.into_iter().map(|error| error.message.replace(&root, "")).collect()
        })?;
        // The file is no setting.
        loaded.config.source = None;
        Ok(loaded)
    }

    #[test]
    fn empty_sources_give_the_defaults() {
        let loaded = load("", &[], &[]).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.effective().iter().all(|setting| setting.origin == Origin::Default));
    }

    #[test]
    fn template_values_are_the_defaults() {
        let uncommented: String = super::super::template()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => format!("{setting}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let loaded = load(&uncommented, &[], &[]).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.effective().iter().all(|setting| setting.origin != Origin::Default));
    }

    #[test]
    fn flag_overrides_environment_and_file() {
        let file = "data = \"file\"\nopen = true\n[log]\nlevel = \"warn\"";
        let environment = [("WHARFINGER_DATA", "environment"), ("WHARFINGER_LOG_LEVEL", "debug")];
        let loaded = load(file, &environment, &[("data", "flag")]).unwrap();
        assert_eq!(loaded.config.data, PathBuf::from("flag"));
        assert_eq!(loaded.origin("data"), Origin::Flag { flag: "--flag" });
        assert_eq!(loaded.config.log.level, "debug");
        assert_eq!(
            loaded.origin("log.level"),
            Origin::Environment { variable: "WHARFINGER_LOG_LEVEL".to_owned() }
        );
        assert!(loaded.config.open);
        assert!(matches!(loaded.origin("open"), Origin::File { line: 2, .. }));
    }

    #[test]
    fn invalid_value_is_reported_with_place_and_example() {
        let file =
            "listen = 5000\n[limits]\nheader_timeout = 15\nmanifest_bytes = \"8 megs\"\nconnections = \"5\"";
        assert_eq!(
            load(file, &[("WHARFINGER_OPEN", "yes")], &[("log.format", "jsn")]).unwrap_err(),
            [
                r#"`listen` in wharfinger.toml line 1 is 5000; expected an address with a port, such as "127.0.0.1:5000", ":5000" or "[::1]:5000""#,
                r#"`limits.header_timeout` in wharfinger.toml line 3 is 15; expected a time such as "30s", "5m" or "24h""#,
                r#"`limits.manifest_bytes` in wharfinger.toml line 4 is "8 megs"; expected a size of at least "4MiB", such as "8MiB", "64MiB" or "10GB""#,
                r#"`limits.connections` in wharfinger.toml line 5 is "5"; expected a whole number of at least 1, such as 100"#,
                r#"WHARFINGER_OPEN in the environment is "yes"; expected true or false"#,
                r#"--flag is "jsn"; expected "text" or "json""#,
            ]
        );
    }

    #[test]
    fn error_in_a_table_has_the_place_of_its_key() {
        let headings = "[[auth.locations]]\npath = \"/v2/\"\nauth = \"opne\"\n[[auth.locations]]\n";
        let wrong = r#"`auth` is "opne"; expected "open" or "basic" or "token""#;
        assert_eq!(
            load(headings, &[], &[]).unwrap_err(),
            [format!("`auth.locations` in wharfinger.toml line 3: {wrong}")]
        );
        let lines =
            "[auth]\nlocations = [\n  { path = \"/v2/\", auth = \"open\" },\n  { pth = \"/v2/a/\" },\n]";
        assert_eq!(
            load(lines, &[("WHARFINGER_AUTH_LOCATIONS", "[{ auth = \"open\" }]")], &[]).unwrap_err(),
            [
                "`auth.locations` in wharfinger.toml line 4: unknown key `pth`",
                "WHARFINGER_AUTH_LOCATIONS in the environment: `path` is missing"
            ]
        );
    }

    #[test]
    fn byte_order_mark_before_file_is_ignored() {
        let loaded = load("\u{feff}listen = \":5001\"\n", &[], &[]).unwrap();
        assert_eq!(loaded.config.listen.port(), 5001);
    }

    #[test]
    fn errors_of_several_kinds_are_all_reported() {
        let errors =
            load("blob = 1\n[tls]\nkey = \"server.key\"\nredirect = \":80\"\n", &[], &[]).unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
        let follow_up = load("[tls]\ncertificate = 1\nkey = \"server.key\"\n", &[], &[]).unwrap_err();
        assert_eq!(follow_up.len(), 1, "an invalid certificate is not a missing one: {follow_up:?}");
    }

    #[test]
    fn error_in_overridden_value_is_reported() {
        assert_eq!(load("open = 1", &[], &[("open", "true")]).unwrap_err().len(), 1);
    }

    #[test]
    fn error_concerns_needed_settings_that_it_may_change() {
        let is_loaded = |file: &str, environment: &[(&str, &str)], flag: Option<&str>| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("wharfinger.toml");
            std::fs::write(&path, file).unwrap();
            let flags = flag.map(|value| Flag { name: "--data", setting: "data", value: value.to_owned() });
            let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let sources = Sources { file: Some(path), environment, flags: flags.into_iter().collect() };
            let loaded = Config::load_for(&sources, &["data"]);
            if let Ok((_, errors)) = &loaded {
                assert_eq!(errors.0.len(), 1, "{errors:?}");
            }
            loaded.is_ok()
        };
        let (value, key, syntax) = ("[limits]\nheaders = \"x\"", "dta = \"/srv\"", "listen = :5000");
        for (file, environment, flag, expected) in [
            // A wrong value of another setting.
            (value, &[][..], None, true),
            // An unknown key may be the misspelled setting, unless another source wins over the file.
            (key, &[], None, false),
            (key, &[], Some("x"), true),
            (key, &[("WHARFINGER_DATA", "x")], None, true),
            ("data = \"x\"\ncolour = 1", &[], None, true),
            // Of a file that is no TOML, no value is certain.
            (syntax, &[], None, false),
            ("data = \"x\"\nlisten = :5000", &[], None, false),
            (syntax, &[("WHARFINGER_DATA", "x")], None, true),
            (syntax, &[], Some("x"), true),
            // An unknown variable would win over the file.
            ("data = \"x\"", &[("WHARFINGER_DTA", "y")], None, false),
            ("", &[("WHARFINGER_DTA", "y"), ("WHARFINGER_DATA", "x")], None, false),
            ("", &[("WHARFINGER_DTA", "y")], Some("x"), true),
            ("", &[("WHARFINGER_OPEN", "maybe")], None, true),
            // The setting itself.
            ("data = 1", &[], None, false),
            ("data = 1", &[], Some("x"), false),
            ("[tls]\nkey = \"a.key\"", &[], None, true),
            ("open = true\n[auth]\nrequired = true", &[], None, true),
        ] {
            assert_eq!(is_loaded(file, environment, flag), expected, "{file:?} {environment:?} {flag:?}");
        }
    }

    #[test]
    fn missing_named_file_is_an_error() {
        let sources = Sources { file: Some("/nowhere/w.toml".into()), ..Sources::default() };
        let ConfigErrors(mistakes) = Config::load(&sources).unwrap_err();
        assert!(
            mistakes[0].message.starts_with("cannot read /nowhere/w.toml, which the command line names: ")
        );
        let environment = vec![(CONFIG_VARIABLE.into(), "/nowhere/v.toml".into())];
        let ConfigErrors(mistakes) =
            Config::load(&Sources { environment, ..Sources::default() }).unwrap_err();
        assert!(mistakes[0].message.contains("/nowhere/v.toml, which WHARFINGER_CONFIG names"));
    }
}
