//! The output of commands. Lists are written to standard output, as a table for people or as JSON for
//! machines. Errors are written to standard error.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::config::ConfigErrors;

/// The exit code of a failed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command failed.
    Failed = 1,
    /// The command line or the configuration is invalid; the same code as clap's.
    Usage = 2,
}

/// The error of a command.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    /// Messages, each with the lines below it: where, why, and how to correct it.
    reports: Vec<(String, Vec<String>)>,
}

impl Failure {
    /// Creates an error such as "cannot read the data directory".
    pub fn new(what: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, reports: vec![(what.to_string(), Vec::new())] }
    }

    /// Creates an error of the command line or the configuration.
    pub fn usage(what: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, ..Self::new(what) }
    }

    /// Creates an error without a message, for a command that has printed everything.
    pub(super) fn reported(exit: Exit) -> Self {
        Self { exit, reports: Vec::new() }
    }

    /// Sets the exit code.
    pub(super) fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Whether the command line or the configuration is invalid.
    pub(super) fn is_usage(&self) -> bool {
        self.exit == Exit::Usage
    }

    /// Adds a line: the place, or how to correct the error.
    #[must_use]
    pub fn help(mut self, line: impl fmt::Display) -> Self {
        if let Some((_, lines)) = self.reports.last_mut() {
            lines.extend(line.to_string().lines().map(str::to_owned));
        }
        self
    }

    /// Adds the error and its sources. A source whose text ends its parent's text is not repeated.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        let mut cause = Some(error);
        let mut last = String::new();
        while let Some(error) = cause {
            let text = error.to_string();
            if !last.ends_with(&text) {
                self = self.help(&text);
            }
            last = text;
            cause = error.source();
        }
        self
    }

    /// Returns the error in one line.
    pub(super) fn summary(&self) -> String {
        let line = |(what, lines): &(String, Vec<String>)| {
            let first = lines.first().map(|line| line.trim_end_matches(';'));
            first.map_or_else(|| what.clone(), |line| format!("{what}: {line}"))
        };
        self.reports.iter().map(line).collect::<Vec<_>>().join("; ")
    }

    /// Prints the error, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        // A closed standard error is ignored.
        let _ = io::stderr().write_all(self.to_string().as_bytes());
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, lines) in &self.reports {
            // A foreign server may have written a part of it.
            writeln!(formatter, "error: {}", harmless(what))?;
            for line in lines {
                writeln!(formatter, "  {}", harmless(line))?;
            }
        }
        Ok(())
    }
}

impl From<ConfigErrors> for Failure {
    fn from(ConfigErrors(mistakes): ConfigErrors) -> Self {
        let reports = mistakes.into_iter().map(|error| {
            let lines = error.details().lines().map(str::to_owned).collect();
            (error.message, lines)
        });
        Self { exit: Exit::Usage, reports: reports.collect() }
    }
}

/// The output format.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Format {
    /// Print JSON, for machines
    #[arg(long)]
    pub json: bool,
}

/// Formats a number with its noun: `1 image`, `2 images`.
pub(super) fn counted<N: fmt::Display + PartialEq + From<u8>>(number: N, one: &str, many: &str) -> String {
    let noun = if number == N::from(1) { one } else { many };
    format!("{number} {noun}")
}

/// Prints text to standard output. A reader that closes it early, such as `head`, is no error.
pub fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match write!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(&error))
        }
        _ => Ok(()),
    }
}

/// Prints a remark to standard error, so that standard output has the result only.
pub fn remark(text: impl fmt::Display) {
    // A closed standard error is ignored.
    let _ = write!(io::stderr(), "{text}");
}

/// Prints a value as one line of JSON.
pub fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    print(format_args!("{}\n", serde_json::to_string(value).map_err(not_json)?))
}

/// Prints a value as JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(format_args!("{}\n", serde_json::to_string_pretty(value).map_err(not_json)?))
}

/// Prints a list: a table with a row per entry, or a JSON array.
pub fn print_list<T: Row + Serialize>(format: Format, rows: &[T]) -> Result<(), Failure> {
    if format.json { print(json_list(rows).map_err(not_json)?) } else { print(table(rows, terminal_width())) }
}

fn not_json(error: serde_json::Error) -> Failure {
    Failure::new("cannot write this as JSON").because(&error)
}

/// An entry of a printed list.
pub trait Row {
    const COLUMNS: &'static [Column];

    fn cells(&self) -> Vec<String>;
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    heading: &'static str,
    right: bool,
    fit: Fit,
}

/// The treatment of a column if the terminal is too narrow. In a pipe, cells are never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// Only digests are shortened.
    Whole,
    /// Cells are cut.
    Cut,
    /// Cells are cut, and the column is omitted if that is not enough.
    Optional,
}

impl Column {
    /// A left-aligned column with a heading in capitals.
    pub const fn text(heading: &'static str) -> Self {
        Self { heading, right: false, fit: Fit::Whole }
    }

    /// A right-aligned column of numbers.
    pub const fn number(heading: &'static str) -> Self {
        Self { right: true, ..Self::text(heading) }
    }

    /// Allows cells to be cut.
    pub const fn cut(self) -> Self {
        Self { fit: Fit::Cut, ..self }
    }

    /// Allows cells to be cut and the column to be omitted.
    pub const fn optional(self) -> Self {
        Self { fit: Fit::Optional, ..self }
    }
}

/// The width of the terminal on standard output, if it is one.
fn terminal_width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(width.0)).filter(|width| *width > 0)
}

const GAP: usize = 2;
/// The smallest width to which a column is cut.
const NARROWEST: usize = 12;
/// The number of hex digits in a shortened digest, enough to distinguish images.
const DIGITS: usize = 12;

/// Renders the headings and the rows in columns. `room` is the width of the terminal.
fn table<T: Row>(rows: &[T], room: Option<usize>) -> String {
    let headings = T::COLUMNS.iter().map(|column| column.heading.to_owned()).collect();
    let mut lines: Vec<Vec<String>> = vec![headings];
    lines.extend(rows.iter().map(|row| row.cells().iter().map(|cell| harmless(cell)).collect()));
    let mut widths = widths_of(&lines, T::COLUMNS.len());
    if let Some(room) = room.filter(|room| total(&widths) > *room) {
        lines.iter_mut().flatten().for_each(|cell| *cell = shorten_digests(cell));
        widths = fit(&widths_of(&lines, T::COLUMNS.len()), T::COLUMNS, room);
    }
    let mut text = String::new();
    for line in &lines {
        let mut written = String::new();
        for ((cell, column), width) in
            line.iter().zip(T::COLUMNS).zip(&widths).filter(|(_, width)| **width > 0)
        {
            let cell = shorten(cell, *width);
            let padding = " ".repeat(width - cell.width());
            let (before, after) = if column.right { (padding.as_str(), "") } else { ("", padding.as_str()) };
            written.extend([before, &cell, after, "  "]);
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

fn widths_of(lines: &[Vec<String>], columns: usize) -> Vec<usize> {
    let width = |index: usize| lines.iter().filter_map(|line| line.get(index)).map(|cell| cell.width()).max();
    (0..columns).map(|index| width(index).unwrap_or(0)).collect()
}

/// The width of a line. A column of width 0 is omitted.
fn total(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0);
    (shown.clone().sum::<usize>() + shown.count() * GAP).saturating_sub(GAP)
}

/// Fits the widths into the terminal if possible: first cuts optional columns, then others, and then omits
/// optional ones from the last on.
fn fit(natural: &[usize], columns: &[Column], room: usize) -> Vec<usize> {
    let mut natural = natural.to_vec();
    loop {
        let mut widths = natural.clone();
        for kind in [Fit::Optional, Fit::Cut] {
            let cut = |widths: &[usize]| {
                let candidates = (0..columns.len()).filter(|index| columns[*index].fit == kind);
                candidates.filter(|index| widths[*index] > NARROWEST).max_by_key(|index| widths[*index])
            };
            while total(&widths) > room
                && let Some(widest) = cut(&widths)
            {
                widths[widest] -= 1;
            }
        }
        let last = (0..columns.len())
            .rev()
            .find(|index| columns[*index].fit == Fit::Optional && natural[*index] > 0);
        match last {
            Some(last) if total(&widths) > room => natural[last] = 0,
            _ => return widths,
        }
    }
}

/// Shortens each digest in a text.
fn shorten_digests(text: &str) -> String {
    let mut rest = text;
    let mut short = String::new();
    while let Some(at) = ["sha256:", "sha512:"].iter().filter_map(|algorithm| rest.find(algorithm)).min() {
        let (before, digest) = rest.split_at(at + "sha256:".len());
        let digits = digest.bytes().take_while(u8::is_ascii_hexdigit).count();
        short.extend([before, &digest[..digits.min(DIGITS)]]);
        rest = &digest[digits..];
    }
    short + rest
}

/// Renders a JSON array with one line per element, so that line tools can read it too.
fn json_list<T: Serialize>(rows: &[T]) -> serde_json::Result<String> {
    let lines: serde_json::Result<Vec<String>> = rows.iter().map(serde_json::to_string).collect();
    let lines = lines?;
    Ok(if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) })
}

/// Quotes an argument for a shell.
pub fn quoted(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:@%+=,".contains(char);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Replaces control characters, because descriptions come from pushed images and could control the terminal.
pub fn harmless(text: &str) -> String {
    let harmless = |char: char| match char {
        '\n' | '\r' | '\t' => ' ',
        // The second and third ranges change the text direction, and could disguise a name.
        _ if char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
            '\u{fffd}'
        }
        _ => char,
    };
    text.chars().map(harmless).collect()
}

/// Cuts text to a width, with an ellipsis.
fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let kept = text.chars().take_while(|char| {
        let width = char.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    });
    kept.chain(['…']).collect()
}

/// Formats a number of bytes: `4.0 MiB`.
pub fn human_size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// Formats the age of a time: `3 weeks ago`.
pub fn human_age(then: SystemTime) -> String {
    // After the clock was set back, times can be in the future.
    age_of(SystemTime::now().duration_since(then).unwrap_or_default().as_secs())
}

fn age_of(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    // A unit is used from 2 on, for precision: 100 minutes are "100 minutes", not "1 hour".
    const UNITS: [(u64, &str); 6] = [
        (365 * DAY, "years"),
        (30 * DAY, "months"),
        (7 * DAY, "weeks"),
        (DAY, "days"),
        (HOUR, "hours"),
        (MINUTE, "minutes"),
    ];
    match UNITS.iter().find(|(unit, _)| seconds >= 2 * unit) {
        Some((unit, name)) => format!("{} {name} ago", seconds / unit),
        None if seconds < 2 => "just now".to_owned(),
        None => format!("{seconds} seconds ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_prints_a_cause_once() {
        #[derive(Debug, thiserror::Error)]
        enum Broken {
            #[error("cannot serve: {0}")]
            Outer(#[source] Box<Broken>),
            #[error("cannot read it")]
            Inner(#[source] io::Error),
        }
        let error = Broken::Outer(Box::new(Broken::Inner(io::Error::other("it is not there"))));
        let text = Failure::new("no").because(&error).to_string();
        assert_eq!(text, "error: no\n  cannot serve: cannot read it\n  it is not there\n");
        let hostile = Failure::new("no\x1b[31m").help("a\n\x1b]0;b").to_string();
        assert_eq!(hostile, "error: no\u{fffd}[31m\n  a\n  \u{fffd}]0;b\n");
    }

    #[derive(Serialize)]
    struct Image {
        name: &'static str,
        bytes: u64,
    }

    impl Row for Image {
        const COLUMNS: &'static [Column] =
            &[Column::text("NAME"), Column::number("SIZE"), Column::text("NOTE")];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.bytes.to_string(), String::new()]
        }
    }

    const IMAGES: [Image; 2] = [Image { name: "größe", bytes: 12345 }, Image { name: "日本", bytes: 7 }];

    #[test]
    fn table_is_aligned_without_trailing_spaces() {
        assert_eq!(table(&IMAGES, None), "NAME    SIZE  NOTE\ngröße  12345\n日本       7\n");
        assert_eq!(table::<Image>(&[], None), "NAME  SIZE  NOTE\n");
    }

    #[test]
    fn table_fits_the_terminal() {
        const COLUMNS: &[Column] = &[
            Column::text("NAME"),
            Column::text("ON").cut(),
            Column::text("FROM").optional(),
            Column::text("NOTE").optional(),
        ];
        let natural = [20, 30, 20, 60];
        assert_eq!(fit(&natural, COLUMNS, 200), natural);
        assert_eq!(fit(&natural, COLUMNS, 100), [20, 30, 20, 24], "the widest optional column is cut first");
        assert_eq!(fit(&natural, COLUMNS, 60), [20, 24, 12, 0], "the last optional column is left out");
        let digest = format!("team/app@sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(shorten_digests(&digest), "team/app@sha256:0123456789ab");
        assert_eq!(shorten_digests("sha256:0123 and sha512:"), "sha256:0123 and sha512:");
    }

    #[test]
    fn json_list_has_a_line_per_entry() {
        let text = json_list(&IMAGES).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()[1]["bytes"], 7);
        assert_eq!(json_list::<Image>(&[]).unwrap(), "[]\n");
    }

    #[test]
    fn cell_has_no_control_characters() {
        assert_eq!(harmless("a\x1b[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb c\u{fffd}d");
    }

    #[test]
    fn argument_is_quoted_for_a_shell() {
        assert_eq!(quoted("/srv/registry"), "/srv/registry");
        assert_eq!(quoted("my registry"), "'my registry'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(shorten("longer", 5), "long…");
        assert_eq!(shorten("日本語", 4), "日…");
    }

    #[test]
    fn sizes_and_ages_for_people() {
        assert_eq!(human_size(4 << 20), "4.0 MiB");
        assert_eq!(human_size(12), "12 B");
        assert_eq!(age_of(0), "just now");
        assert_eq!(age_of(59), "59 seconds ago");
        assert_eq!(age_of(6000), "100 minutes ago");
        assert_eq!(age_of(3 * 86_400), "3 days ago");
        assert_eq!(age_of(800 * 86_400), "2 years ago");
    }

    #[test]
    fn failure_prints_message_cause_and_help() {
        let error = io::Error::other("disk on fire");
        let failure = Failure::new("cannot read data").because(&error).help("call someone");
        assert_eq!(failure.to_string(), "error: cannot read data\n  disk on fire\n  call someone\n");
        assert_eq!(failure.exit, Exit::Failed);
    }
}
