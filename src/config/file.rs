//! Reads the configuration file: TOML whose keys must be settings.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::definition::{SECTIONS, Section, Setting, settings};
use super::error::{ConfigError, Excerpt};
use super::nearest;
use super::value::RawValue;

/// A setting from the file.
pub(super) struct Entry {
    pub(super) setting: &'static Setting,
    pub(super) raw: RawValue,
    pub(super) place: Excerpt,
}

/// Reads the settings and the errors, each in the order of the lines.
pub(super) fn read(file: &Path, text: &str) -> (Vec<Entry>, Vec<ConfigError>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { file, text, entries: Vec::new(), mistakes: Vec::new() };
    for error in errors {
        reader.not_toml(&error);
    }
    // Values that the parser recovered from a line with a syntax error are guesses, and are ignored.
    let broken: Vec<usize> = reader.lines_with_mistakes().collect();
    reader.root(root.get_ref());
    let Reader { mut entries, mut mistakes, .. } = reader;
    let syntax = broken.len();
    let mut index = 0;
    mistakes.retain(|error| {
        index += 1;
        index <= syntax || error.excerpt.as_ref().is_none_or(|place| !broken.contains(&place.line))
    });
    entries.retain(|entry| !broken.contains(&entry.place.line));
    mistakes.sort_by_key(|error| error.excerpt.as_ref().map(|place| (place.line, place.column)));
    entries.sort_by_key(|entry| entry.place.line);
    (entries, mistakes)
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    entries: Vec<Entry>,
    mistakes: Vec<ConfigError>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Excerpt {
        Excerpt::new(self.file, self.text, offset)
    }

    fn lines_with_mistakes(&self) -> impl Iterator<Item = usize> {
        self.mistakes.iter().filter_map(|error| error.excerpt.as_ref()).map(|place| place.line)
    }

    fn not_toml(&mut self, error: &toml::de::Error) {
        let place = self.place(error.span().map_or(0, |span| span.start));
        // The parser may report several errors for one line; the first is the most helpful.
        if self.lines_with_mistakes().any(|line| line == place.line) {
            return;
        }
        let error = if error.message().contains("duplicate key") {
            self.given_twice(&place)
        } else if let Some((key, value, column)) = text_without_quotes(&place.text) {
            // The parser would report an invalid number or date.
            ConfigError::new(format!("{place}, column {column}: text without quotes"))
                .help(format!(r#"write {key} = "{value}""#))
                .at(Excerpt { column, ..place.clone() })
        } else {
            let what = error.message().replace('\n', ", ");
            ConfigError::new(format!("{place}, column {}: {what}", place.column)).at(place)
        };
        self.mistakes.push(error);
    }

    /// Reports a duplicate key or section.
    fn given_twice(&self, place: &Excerpt) -> ConfigError {
        let (what, first) = match key_of(&place.text) {
            Some(key) => (format!("`{key}`"), self.line_before(place.line, |line| key_of(line) == Some(key))),
            None => {
                let heading = place.text.split('#').next().unwrap_or_default().trim();
                (
                    heading.to_owned(),
                    self.lines_before(place.line)
                        .position(|line| line.trim().starts_with(heading))
                        .map(|index| index + 1),
                )
            }
        };
        let message = match first {
            Some(first) => format!(
                "{what} is given twice in {}: line {first} and line {}",
                self.file.display(),
                place.line
            ),
            None => format!("{what} in {place} is given twice"),
        };
        let help = if what.starts_with('[') {
            "put the keys of both below one of them, and remove the other"
        } else {
            "remove one of them"
        };
        ConfigError::new(message).help(help).at(place.clone())
    }

    /// The lines before a line number.
    fn lines_before(&self, line: usize) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        let lines: Vec<&str> = self.text.lines().take(line - 1).collect();
        lines.into_iter()
    }

    /// The number of the last line before a line, in the same section, that matches.
    fn line_before(&self, line: usize, is_it: impl Fn(&str) -> bool) -> Option<usize> {
        let lines = self.lines_before(line).enumerate().rev();
        let mut section = lines.take_while(|(_, text)| !text.trim_start().starts_with('['));
        section.find(|(_, text)| is_it(text)).map(|(index, _)| index + 1)
    }

    fn root(&mut self, table: &DeTable<'_>) {
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            if let Some(section) = SECTIONS.iter().find(|section| section.name == Some(name)) {
                self.section(section, name, key, value);
            } else if let Some(setting) = SECTIONS[0].settings.iter().find(|setting| setting.key == name) {
                self.setting(setting, value);
            } else if matches!(value.get_ref(), DeValue::Table(_)) {
                self.unknown_section(name, key);
            } else {
                self.unknown_key(None, name, key);
            }
        }
    }

    fn section(
        &mut self,
        section: &'static Section,
        name: &str,
        key: &Spanned<impl Sized>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let DeValue::Table(table) = value.get_ref() else {
            let place = self.place(key.span().start);
            let example = section.settings.first().map_or("", |setting| setting.key);
            self.mistakes.push(
                ConfigError::new(format!("`{name}` in {place} is a section, not a key"))
                    .help(format!("write [{name}], and below it its keys, such as `{example} = …`"))
                    .at(place),
            );
            return;
        };
        for (key, value) in table.iter() {
            let within = format!("{name}.{}", key.get_ref());
            if let Some(section) = SECTIONS.iter().find(|section| section.name == Some(&within)) {
                self.section(section, &within, key, value);
                continue;
            }
            match section.settings.iter().find(|setting| setting.key == key.get_ref().as_ref()) {
                Some(setting) => self.setting(setting, value),
                None => self.unknown_key(section.name, key.get_ref(), key),
            }
        }
    }

    fn setting(&mut self, setting: &'static Setting, value: &Spanned<DeValue<'_>>) {
        let raw = RawValue::from_toml(value.get_ref(), &|offset| Some(self.place(offset)));
        let place = self.place(value.span().start);
        self.entries.push(Entry { setting, raw, place });
    }

    fn unknown_section(&mut self, name: &str, key: &Spanned<impl Sized>) {
        let place = self.place(key.span().start);
        let known: Vec<&str> = SECTIONS.iter().filter_map(|section| section.name).collect();
        let mut message = format!("unknown section [{name}] in {place}");
        let mut error = match nearest(name, known.iter().copied()) {
            Some(section) => {
                message += &format!("; did you mean [{section}]?");
                ConfigError::new(message)
            }
            None => ConfigError::new(message).help(format!("the sections are [{}]", known.join("], ["))),
        };
        error = error.at(place).about(name);
        self.mistakes.push(error);
    }

    fn unknown_key(&mut self, section: Option<&'static str>, key: &str, span: &Spanned<impl Sized>) {
        let place = self.place(span.span().start);
        let path = section.map_or_else(|| key.to_owned(), |section| format!("{section}.{key}"));
        let message = format!("unknown key `{path}` in {place}");
        let error = match suggestion(section, key) {
            Some(meant) => {
                let error = ConfigError::new(format!("{message}; did you mean `{}`?", meant.path));
                match (section, meant.section) {
                    (Some(_), None) => error.help(format!("`{}` stands above the first section", meant.key)),
                    (None | Some(_), Some(other)) if section != Some(other) => {
                        error.help(format!("`{}` stands in the section [{other}]", meant.key))
                    }
                    _ => error,
                }
            }
            None => ConfigError::new(message).help("`wharfinger config example` shows every key"),
        };
        self.mistakes.push(error.at(place).about(path));
    }
}

/// The key of a line such as `level = "info"`.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && !key.starts_with(['[', '#'])).then_some(key)
}

/// Key, value and the column of the value in a line without quotes, such as `level = info`.
fn text_without_quotes(line: &str) -> Option<(&str, &str, usize)> {
    let (key, rest) = line.split_once('=')?;
    let value = rest.split(" #").next()?.trim();
    let bare = |char: char| char.is_alphanumeric() || matches!(char, '/' | ':' | '*');
    if !value.starts_with(bare) || value.contains('"') {
        return None;
    }
    let column = line.chars().count() - rest.trim_start().chars().count() + 1;
    Some((key.trim(), value, column))
}

/// The setting that an unknown key most likely means: a similar key of the same section, else the same key of
/// another section, else a similar key of another section.
fn suggestion(section: Option<&str>, key: &str) -> Option<&'static Setting> {
    let here = || settings().filter(|setting| setting.section == section);
    let near = nearest(key, here().map(|setting| setting.key));
    here()
        .find(|setting| Some(setting.key) == near)
        .or_else(|| settings().find(|setting| setting.key == key))
        .or_else(|| {
            let near = nearest(key, settings().map(|setting| setting.key))?;
            settings().find(|setting| setting.key == near)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let (_, mistakes) = read(Path::new("wharfinger.toml"), text);
        mistakes.into_iter().map(|error| error.message).collect()
    }

    fn help(text: &str) -> String {
        let (_, mistakes) = read(Path::new("wharfinger.toml"), text);
        mistakes[0].help.clone().unwrap_or_default()
    }

    #[test]
    fn unknown_key_suggests_the_nearest() {
        assert_eq!(
            mistakes("\n\nlisen = \"127.0.0.1:5000\""),
            ["unknown key `lisen` in wharfinger.toml line 3; did you mean `listen`?"]
        );
        assert_eq!(
            mistakes("[limits]\nmanifest-byte = 1"),
            [
                "unknown key `limits.manifest-byte` in wharfinger.toml line 2; did you mean `limits.manifest_bytes`?"
            ]
        );
        assert_eq!(mistakes("colour = 1"), ["unknown key `colour` in wharfinger.toml line 1"]);
        assert!(help("colour = 1").contains("config example"));
    }

    #[test]
    fn misplaced_key_names_its_section() {
        let below = "[log]\nlevel = \"info\"\ndata = \"x\"";
        assert_eq!(
            mistakes(below),
            ["unknown key `log.data` in wharfinger.toml line 3; did you mean `data`?"]
        );
        assert_eq!(help(below), "`data` stands above the first section");
        assert_eq!(help("connections = 5"), "`connections` stands in the section [limits]");
    }

    #[test]
    fn unknown_section_is_reported_once() {
        assert_eq!(
            mistakes("[limit]\nmanifest_bytes = 1\nfoo = 2"),
            ["unknown section [limit] in wharfinger.toml line 1; did you mean [limits]?"]
        );
        assert!(help("[http]\nport = 1").contains("[log], "));
    }

    #[test]
    fn section_as_a_key_is_rejected() {
        assert_eq!(mistakes("log = \"debug\""), ["`log` in wharfinger.toml line 1 is a section, not a key"]);
        assert_eq!(mistakes("[[log]]"), ["`log` in wharfinger.toml line 1 is a section, not a key"]);
    }

    #[test]
    fn nested_section_is_read() {
        let text =
            "[tls]\nhttp2 = false\n[tls.acme]\nhosts = [\"a.example\"]\ndirectry = \"https://a.example\"";
        let (entries, mistakes) = read(Path::new("a"), text);
        let paths: Vec<_> = entries.iter().map(|entry| entry.setting.path).collect();
        assert_eq!(paths, ["tls.http2", "tls.acme.hosts"]);
        assert!(mistakes[0].message.ends_with("did you mean `tls.acme.directory`?"), "{mistakes:?}");
        let (entries, mistakes) = read(Path::new("a"), "[tls]\nacme.hosts = []\n[tls.acmee]\nhosts = []");
        assert_eq!((entries.len(), mistakes.len()), (1, 1), "{mistakes:?}");
        let (_, mistakes) = read(Path::new("a"), "[tls]\nacme = true");
        assert_eq!(mistakes[0].message, "`tls.acme` in a line 2 is a section, not a key");
    }

    #[test]
    fn dotted_keys_and_inline_tables_are_sections() {
        let (entries, mistakes) = read(
            Path::new("a"),
            "log.level = \"warn\"\nlimits = { headers = 20, connections = 5 }\n\"listen\" = 'x'",
        );
        assert_eq!(mistakes, []);
        let paths: Vec<_> = entries.iter().map(|entry| (entry.setting.path, entry.place.line)).collect();
        assert!(paths.contains(&("log.level", 1)));
        assert!(paths.contains(&("limits.connections", 2)));
        assert!(paths.contains(&("listen", 3)));
    }

    #[test]
    fn syntax_error_has_a_place_and_the_rest_is_read() {
        let text = "listen = 127.0.0.1:5000\ndata = \"x\"\nfoo = 1\n[limits]\nheaders = 20";
        let (entries, mistakes) = read(Path::new("wharfinger.toml"), text);
        let messages: Vec<_> = mistakes.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].starts_with("wharfinger.toml line 1, column 10: "), "{messages:?}");
        assert!(messages[1].starts_with("unknown key `foo`"), "{messages:?}");
        let paths: Vec<_> = entries.iter().map(|entry| entry.setting.path).collect();
        assert_eq!(paths, ["data", "limits.headers"]);
    }

    #[test]
    fn text_without_quotes_gets_a_suggestion() {
        assert_eq!(
            mistakes("\nlisten = 127.0.0.1:5000"),
            ["wharfinger.toml line 2, column 10: text without quotes"]
        );
        for (line, quoted) in [
            ("level = info", r#"level = "info""#),
            ("blob_bytes = 8MiB # much", r#"blob_bytes = "8MiB""#),
            ("data = /var/lib", r#"data = "/var/lib""#),
            ("listen=:5000", r#"listen = ":5000""#),
        ] {
            assert_eq!(help(line), format!("write {quoted}"));
        }
        assert!(mistakes("data = \"x").concat().starts_with("wharfinger.toml line 1, column "));
    }

    #[test]
    fn duplicate_key_is_reported_with_both_lines() {
        assert_eq!(
            mistakes("open = true\n\nopen = false"),
            ["`open` is given twice in wharfinger.toml: line 1 and line 3"]
        );
        assert_eq!(
            mistakes("[audit]\nlog = true\n[log]\nlevel = \"info\"\nlevel = \"warn\""),
            ["`level` is given twice in wharfinger.toml: line 4 and line 5"]
        );
        assert_eq!(
            mistakes("[log]\nlevel = \"info\"\n[audit]\n[log]\nformat = \"json\""),
            ["[log] is given twice in wharfinger.toml: line 1 and line 4"]
        );
    }
}
