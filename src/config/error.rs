//! Configuration errors: the fault, its place, and how to correct it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigError {
    /// The fault and its place, in one sentence.
    pub message: String,
    /// The line of the file, for an error in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
    /// How to correct it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The setting or section with the error, if known.
    #[serde(skip)]
    pub about: Option<String>,
}

impl ConfigError {
    /// Creates an error without a place in the file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), excerpt: None, help: None, about: None }
    }

    /// Names the setting with the error.
    #[must_use]
    pub fn about(self, setting: impl Into<String>) -> Self {
        Self { about: Some(setting.into()), ..self }
    }

    /// Whether the error may concern one of these settings or sections. An error without a setting may
    /// concern all.
    #[must_use]
    pub fn may_concern(&self, settings: &[&str]) -> bool {
        self.about.as_ref().is_none_or(|about| settings.iter().any(|setting| about.starts_with(setting)))
    }

    pub(super) fn at(self, excerpt: Excerpt) -> Self {
        Self { excerpt: Some(excerpt), ..self }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Renders the lines after the message: the line of the file with a mark under the place, and the help.
    pub fn details(&self) -> String {
        let mut lines = Vec::new();
        if let Some(excerpt) = &self.excerpt {
            let number = excerpt.line.to_string();
            lines.push(format!("{number} | {}", excerpt.text.trim_end()));
            // Tabs are kept, so that the mark is below the place.
            let before = excerpt.text.chars().take(excerpt.column - 1);
            let before: String = before.map(|char| if char == '\t' { '\t' } else { ' ' }).collect();
            lines.push(format!("{:width$} | {before}^", "", width = number.len()));
        }
        lines.extend(self.help.clone());
        lines.join("\n")
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Excerpt {
    pub file: PathBuf,
    /// The number of the line, counted from 1.
    pub line: usize,
    /// The character in that line, counted from 1.
    pub column: usize,
    #[serde(skip)]
    pub text: String,
}

impl Excerpt {
    /// Finds the place of a byte offset in `text`, the content of `file`.
    pub(super) fn new(file: &Path, text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let (before, after) = text.split_at(offset);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = after.find('\n').map_or(text.len(), |newline| offset + newline);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: text[start..offset].chars().count() + 1,
            text: text[start..end].to_owned(),
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} line {}", self.file.display(), self.line)
    }
}

/// All errors of a configuration, so that the operator can correct them at once.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_is_the_line_around_an_offset() {
        let text = "first\nsecond = 1\r\nthird";
        let excerpt = |offset| Excerpt::new(Path::new("a.toml"), text, offset);
        assert_eq!((excerpt(0).line, excerpt(0).column), (1, 1));
        assert_eq!((excerpt(8).line, excerpt(8).column), (2, 3));
        assert_eq!(excerpt(8).text, "second = 1\r");
        assert_eq!((excerpt(text.len()).line, excerpt(text.len()).column), (3, 6));
        assert_eq!(excerpt(9999).line, 3);
    }

    #[test]
    fn details_mark_the_place() {
        let error = ConfigError::new("wrong").at(Excerpt::new(Path::new("a"), "\tä = x", 6)).help("do this");
        assert_eq!(error.details(), "1 | \tä = x\n  | \t    ^\ndo this");
    }
}
