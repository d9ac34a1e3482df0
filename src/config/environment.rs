//! Reads settings from environment variables: `WHARFINGER_LIMITS_HEADERS` is `headers` in `[limits]`.

use std::ffi::OsString;

use super::definition::{Setting, settings};
use super::error::ConfigError;
use super::nearest;

/// The prefix of the variables of settings.
pub(super) const PREFIX: &str = "WHARFINGER_";

/// The path of the configuration file. It is no setting, because the file cannot name itself.
pub const CONFIG_VARIABLE: &str = "WHARFINGER_CONFIG";

/// The name of the administrator that the first start creates.
pub const ADMIN_VARIABLE: &str = "WHARFINGER_ADMIN";

/// The password of that administrator.
pub const ADMIN_PASSWORD_VARIABLE: &str = "WHARFINGER_ADMIN_PASSWORD";

/// The personal token or robot's secret with which commands log in to a server. It is no setting, because the
/// configuration file is no place for secrets.
pub const TOKEN_VARIABLE: &str = "WHARFINGER_TOKEN";

/// Variables with the prefix of settings that are no settings.
const OTHERS: [&str; 4] = [CONFIG_VARIABLE, ADMIN_VARIABLE, ADMIN_PASSWORD_VARIABLE, TOKEN_VARIABLE];

impl Setting {
    /// The environment variable of this setting.
    pub fn variable(&self) -> String {
        PREFIX.to_owned() + &self.path.replace('.', "_").to_uppercase()
    }
}

/// A setting from the environment.
pub(super) struct Entry {
    pub(super) setting: &'static Setting,
    pub(super) variable: String,
    pub(super) value: String,
}

/// Reads the settings and the errors, sorted by variable. Empty variables are ignored, because `NAME=${NAME}`
/// in a compose file sets one for an unset variable.
pub(super) fn read(variables: &[(OsString, OsString)]) -> (Vec<Entry>, Vec<ConfigError>) {
    let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
    let known: Vec<(String, &'static Setting)> =
        settings().map(|setting| (setting.variable(), setting)).collect();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if value.is_empty() || OTHERS.contains(&&*name) || set_by_a_platform(rest) {
            continue;
        }
        let Some((variable, setting)) = known.iter().find(|(variable, _)| *variable == name) else {
            mistakes.push(unknown(&name, known.iter().map(|(variable, _)| variable.as_str())));
            continue;
        };
        match value.to_str() {
            Some(value) => {
                entries.push(Entry { setting, variable: variable.clone(), value: value.to_owned() });
            }
            None => mistakes.push(
                ConfigError::new(format!("{name} in the environment is not UTF-8")).about(setting.path),
            ),
        }
    }
    entries.sort_by(|a, b| a.variable.cmp(&b.variable));
    mistakes.sort_by(|a, b| a.message.cmp(&b.message));
    (entries, mistakes)
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> ConfigError {
    // The common prefix would make any two names similar.
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    let message = format!("unknown variable {name} in the environment");
    match nearest(rest, known.chain(OTHERS).filter_map(|known| known.strip_prefix(PREFIX))) {
        Some(known) => ConfigError::new(format!("{message}; did you mean {PREFIX}{known}?")).about(name),
        None => ConfigError::new(message).about(name).help(
            "the variable of a setting is WHARFINGER_, its section if it has one, _ and its key, in capitals",
        ),
    }
}

/// Whether Kubernetes or a Docker link sets this variable for a service called `wharfinger`. It is not meant
/// as a setting, and rejecting it would keep the server from starting there.
fn set_by_a_platform(rest: &str) -> bool {
    let port = rest.strip_prefix("PORT").or_else(|| rest.split_once("_PORT").map(|(_, port)| port));
    let of_a_port = port.is_some_and(|port| {
        port.is_empty()
            || port.strip_prefix('_').and_then(|port| port.split_once('_')).is_some_and(|(number, rest)| {
                number.parse::<u16>().is_ok()
                    && ["TCP", "UDP", "SCTP"].iter().any(|kind| rest.starts_with(kind))
            })
    });
    let service =
        rest.strip_prefix("SERVICE_").or_else(|| rest.split_once("_SERVICE_").map(|(_, rest)| rest));
    let of_a_service =
        service.is_some_and(|rest| rest == "HOST" || rest == "PORT" || rest.starts_with("PORT_"));
    of_a_port || of_a_service || rest == "NAME" || rest.starts_with("ENV_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn setting_variables_are_distinct() {
        let mut names: Vec<String> = settings().map(Setting::variable).collect();
        assert!(names.contains(&"WHARFINGER_LISTEN".to_owned()));
        assert!(names.contains(&"WHARFINGER_LIMITS_MANIFEST_BYTES".to_owned()));
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn setting_variables_are_not_taken_for_platform_ones() {
        for setting in settings() {
            let variable = setting.variable();
            assert!(!set_by_a_platform(variable.strip_prefix(PREFIX).unwrap()), "{variable}");
        }
    }

    #[test]
    fn platform_variables_are_ignored() {
        let (entries, mistakes) = read(&variables(&[
            ("WHARFINGER_SERVICE_HOST", "10.0.0.1"),
            ("WHARFINGER_SERVICE_PORT", "5000"),
            ("WHARFINGER_SERVICE_PORT_HTTP", "5000"),
            ("WHARFINGER_PORT", "tcp://10.0.0.1:5000"),
            ("WHARFINGER_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
            ("WHARFINGER_PORT_5000_TCP_ADDR", "10.0.0.1"),
            ("WHARFINGER_METRICS_SERVICE_HOST", "10.0.0.1"),
            ("WHARFINGER_METRICS_PORT_80_TCP_PROTO", "tcp"),
        ]));
        assert!(entries.is_empty());
        assert_eq!(mistakes, []);
    }

    #[test]
    fn unknown_variable_suggests_the_nearest() {
        let (_, mistakes) = read(&variables(&[("WHARFINGER_LISEN", "x"), ("WHARFINGER_XYZZY", "x")]));
        let messages: Vec<_> = mistakes.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "unknown variable WHARFINGER_LISEN in the environment; did you mean WHARFINGER_LISTEN?",
                "unknown variable WHARFINGER_XYZZY in the environment"
            ]
        );
    }

    #[test]
    fn other_and_empty_variables_are_ignored() {
        let (entries, mistakes) = read(&variables(&[
            ("PATH", "/bin"),
            ("WHARFINGER_CONFIG", "x.toml"),
            ("WHARFINGER_ADMIN_PASSWORD", "secret"),
            ("WHARFINGER_TOKEN", "wfp_x"),
            ("WHARFINGER_DATA", ""),
            ("WHARFINGER_OPEN", "true"),
        ]));
        assert_eq!(mistakes, []);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].setting.path, "open");
    }
}
