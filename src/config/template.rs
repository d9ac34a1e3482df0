//! The template of the configuration file: every setting with its description, its default commented out.

use std::fmt::Write as _;

use super::definition::{Config, SECTIONS, Setting};

const HEAD: &str = "\
# The configuration of Wharfinger: every setting, with its default commented out.
#
# Command-line flags override environment variables, and these override this file. The variable of a setting is
# WHARFINGER_, its section, _ and its key: WHARFINGER_LISTEN, WHARFINGER_LIMITS_BLOB_BYTES.
#
# The file is the first that exists of --config, $WHARFINGER_CONFIG, ./wharfinger.toml and
# /etc/wharfinger/wharfinger.toml. `wharfinger config check` reports its errors, and lists the settings in force.
#
# A reload (`wharfinger reload`, SIGHUP) applies changes, except of the settings that say so.
#
# Lists in variables are separated by commas. Tables in variables are inline TOML or JSON:
# WHARFINGER_AUTH_LOCATIONS='[{\"path\": \"/v2/\", \"auth\": \"token\"}]'.
#
# Times are written \"30s\", \"5m\" or \"24h\"; sizes \"512KiB\", \"8MiB\" (times 1024) or \"10GB\" (times 1000).
";

/// Renders the template for `wharfinger config example`.
pub fn template() -> String {
    let defaults = Config::default();
    let mut text = HEAD.to_owned();
    for section in SECTIONS {
        if let Some(name) = section.name {
            let _ = write!(text, "\n\n{}[{name}]\n", comment(section.description));
        }
        for setting in section.settings {
            let value = (setting.write)(&defaults);
            let mut description = comment(setting.description);
            if !setting.is_live() {
                description.push_str("# A change needs a restart.\n");
            }
            let _ = write!(text, "\n{description}{}#{} = {value}\n", table_keys(setting), setting.key);
        }
    }
    text
}

/// The keys of an array of tables as lines of comment, with their descriptions.
fn table_keys(setting: &Setting) -> String {
    let keys = (setting.keys)();
    if keys.is_empty() {
        return String::new();
    }
    let mut text = format!("# The keys of each table [[{}]]:\n", setting.path);
    for key in keys {
        let required = if key.is_required { "required" } else { "optional" };
        let _ = writeln!(text, "#  {} ({required})", key.name);
        text.push_str(&comment(key.description).replace("# ", "#     "));
    }
    text
}

/// Renders a description as comment lines. Its lines begin with a space, as after `///`. Backquotes around
/// quoted text are removed.
fn comment(description: &str) -> String {
    let description = description.replace("`\"", "\"").replace("\"`", "\"");
    description.lines().map(|line| format!("#{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_in_the_repository_is_current() {
        let committed = include_str!("../../wharfinger.toml");
        assert!(
            committed == template(),
            "wharfinger.toml differs from the settings: run `wharfinger config example > wharfinger.toml`"
        );
    }

    #[test]
    fn settings_page_names_every_section() {
        let page = include_str!("../../docs/reference/settings.md");
        let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        let mut named: Vec<&str> =
            cells.flat_map(|cell| cell.split('`')).filter(|word| word.starts_with('[')).collect();
        let sections = SECTIONS.iter().filter_map(|section| Some(format!("[{}]", section.name?)));
        let tables = SECTIONS.iter().flat_map(|section| section.settings);
        let tables = tables.filter(|setting| !(setting.keys)().is_empty());
        let mut all: Vec<String> =
            sections.chain(tables.map(|table| format!("[[{}]]", table.path))).collect();
        named.sort_unstable();
        all.sort_unstable();
        assert_eq!(named, all);
    }

    #[test]
    fn template_lines_are_short() {
        for line in template().lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }
}
