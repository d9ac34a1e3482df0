//! Snapshots of texts that people read, so that a change of a text is seen and reviewed: help, settings,
//! commands. The errors of HTTP are in `src/http/error/snapshots.rs`.
//!
//! `INSTA_UPDATE=always cargo test --test snapshots` writes them again. `scripts/test` fails if one differs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod help;
mod settings;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program in a directory, without the settings of this machine.
fn run(directory: &Path, words: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .current_dir(directory)
        .args(words)
        .env_clear()
        // The width of help texts.
        .env("COLUMNS", "100")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a command that must fail. Returns it with its exit code and errors, without the name of the
/// directory.
fn failure(directory: &Path, words: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(directory, words, variables);
    assert!(!output.status.success(), "{words:?} succeeds");
    let variables: String = variables.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    let words: Vec<String> = words.iter().map(|word| shell(word)).collect();
    let code = output.status.code().unwrap();
    let text = format!("$ {variables}wharfinger {}\n{}", words.join(" "), text(&output.stderr));
    format!("{}exit code {code}\n\n", text.replace(directory.to_str().unwrap(), "[DIRECTORY]"))
}

fn shell(word: &str) -> String {
    if word.is_empty() || word.contains([' ', '*']) { format!("'{word}'") } else { word.to_owned() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Compares a text with the file of its name beside this one.
fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(".");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
