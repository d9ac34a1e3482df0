//! What is wrong with a configuration: what, where, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigError {
    /// What is wrong and where, in one sentence.
    pub message: String,
    /// The line of the file, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
    /// What to do about it, where that can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The setting or section that it is about, where that is known.
    #[serde(skip)]
    pub about: Option<String>,
}

impl ConfigError {
    /// A mistake without a place in the file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), excerpt: None, help: None, about: None }
    }

    /// Names the setting that it is about.
    #[must_use]
    pub fn about(self, setting: impl Into<String>) -> Self {
        Self { about: Some(setting.into()), ..self }
    }

    /// Whether it may concern one of these settings or sections: what cannot be read may be about anything.
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

    /// What follows the message: the line of the file with a mark under the place, and what to do.
    pub fn details(&self) -> String {
        let mut lines = Vec::new();
        if let Some(excerpt) = &self.excerpt {
            let number = excerpt.line.to_string();
            lines.push(format!("{number} | {}", excerpt.text.trim_end()));
            // A tab stays a tab, or the mark would stand elsewhere than the place.
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
    /// The file.
    pub file: PathBuf,
    /// The number of the line, counted from 1.
    pub line: usize,
    /// The character in that line, counted from 1.
    pub column: usize,
    /// What the line says.
    #[serde(skip)]
    pub text: String,
}

impl Excerpt {
    /// The place that is `offset` bytes into `text`, the content of `file`.
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

/// Everything that is wrong with a configuration, so that it can be put right in one go.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_the_line_around_an_offset() {
        let text = "first\nsecond = 1\r\nthird";
        let excerpt = |offset| Excerpt::new(Path::new("a.toml"), text, offset);
        assert_eq!((excerpt(0).line, excerpt(0).column), (1, 1));
        assert_eq!((excerpt(8).line, excerpt(8).column), (2, 3));
        assert_eq!(excerpt(8).text, "second = 1\r");
        assert_eq!((excerpt(text.len()).line, excerpt(text.len()).column), (3, 6));
        assert_eq!(excerpt(9999).line, 3);
    }

    #[test]
    fn the_mark_stands_under_the_place() {
        let error = ConfigError::new("wrong").at(Excerpt::new(Path::new("a"), "\tä = x", 6)).help("do this");
        assert_eq!(error.details(), "1 | \tä = x\n  | \t    ^\ndo this");
    }
}
