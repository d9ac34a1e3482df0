//! Writes the configuration file that says nothing: every setting with its description, its default commented
//! out.

use std::fmt::Write as _;

use super::definition::{Config, SECTIONS};

const HEAD: &str = "\
# Wharfinger's configuration: every setting there is, with its default commented out.
#
# A flag of the command line wins over a variable of the environment, that over this file, and this file over the
# default. The variable of a setting is WHARFINGER_, its section, and its key: WHARFINGER_LISTEN,
# WHARFINGER_LIMITS_BLOB_BYTES.
#
# The file is looked for at --config, $WHARFINGER_CONFIG, ./wharfinger.toml and /etc/wharfinger/wharfinger.toml; the
# first that is there counts. `wharfinger config check` says what is wrong with it, and what is in force.
#
# Times are written \"30s\", \"5m\" or \"24h\"; sizes \"512KiB\", \"8MiB\" (times 1024) or \"10GB\" (times 1000).
";

/// The template, as `wharfinger config example` prints it.
pub fn template() -> String {
    let defaults = Config::default();
    let mut text = HEAD.to_owned();
    for section in SECTIONS {
        if let Some(name) = section.name {
            let _ = write!(text, "\n\n{}[{name}]\n", comment(section.description));
        }
        for setting in section.settings {
            let value = (setting.write)(&defaults);
            let _ = write!(text, "\n{}#{} = {value}\n", comment(setting.description), setting.key);
        }
    }
    text
}

/// The lines of a description as lines of comment. They begin with a space, as they do after `///`; text in quotes
/// loses the backquotes that only the documentation of the code needs.
fn comment(description: &str) -> String {
    let description = description.replace("`\"", "\"").replace("\"`", "\"");
    description.lines().map(|line| format!("#{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_in_the_repository_is_up_to_date() {
        let committed = include_str!("../../wharfinger.toml");
        assert!(
            committed == template(),
            "wharfinger.toml differs from the settings: run `wharfinger config example > wharfinger.toml`"
        );
    }

    #[test]
    fn lines_stay_readable() {
        for line in template().lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }
}
