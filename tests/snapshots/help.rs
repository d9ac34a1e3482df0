//! The help of every command.

use std::path::Path;

use super::{assert_snapshot, run, text};

/// Adds the help of a command, and of the commands below it.
fn add(words: &[&str], all: &mut String) {
    let output = run(Path::new("/"), &[words, &["--help"]].concat(), &[]);
    assert!(output.status.success(), "{words:?}");
    let help = text(&output.stdout);
    *all += &format!("$ wharfinger {}\n{help}\n", [words, &["--help"]].concat().join(" "));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        // Deeper lines go on with the text of a command.
        if let Some(command) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) {
            add(&[words, &[command.split(' ').next().unwrap()]].concat(), all);
        }
    }
}

#[test]
fn help_of_each_command_matches_the_snapshot() {
    let mut all = String::new();
    add(&[], &mut all);
    assert_snapshot("help", &all);
}
