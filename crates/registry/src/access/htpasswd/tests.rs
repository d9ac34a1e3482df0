//! Tests of parsing and reloading htpasswd files.

use std::fs;

use super::*;

const ANN: &str = "ann:$2y$05$xQ/ccebv5HNO1pAN6EqWfu8J52Ai4SGgrLDj0FWs49Slgr8xYMYTG";
const BOB: &str = "bob:$apr1$XgwFEC8l$GOqbkMss5uES/sd2kyDbh1";
const CAT: &str = "cat@example.org:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

fn account(name: &str) -> AccountName {
    name.parse().unwrap()
}

#[test]
fn htpasswd_file_is_parsed() {
    let users = Users::parse(&format!("# users\n\n{ANN}\r\n{BOB}:a comment\n  # more\n{CAT}"));
    assert_eq!(users.len(), 3);
    assert!(users.unusable.is_empty(), "{:?}", users.unusable);
    for name in ["ann", "bob", "cat@example.org"] {
        assert!(users.password(&account(name)).is_some(), "{name}");
    }
    assert!(users.password(&account("dan")).is_none());
    assert_eq!(users.weak, [account("bob"), account("cat@example.org")]);
    assert_eq!(users.slowest(), Some((Scheme::Bcrypt, 5)));
    assert_eq!(Users::parse("").len(), 0);
}

/// The usable names, and the unusable lines.
fn parsed(text: &str) -> (Vec<String>, Vec<String>) {
    let users = Users::parse(text);
    let mut names: Vec<_> = users.names().map(ToString::to_string).collect();
    names.sort();
    (names, users.unusable)
}

#[test]
fn unusable_lines_are_reported_and_others_apply() {
    let sha512 = "sha:$6$01v0KOH.q2blyG8b$8JssUx";
    let text = format!(
        "{ANN}\nsecretpassword\nbob:plainsecret\n:x\nd an:x\ncrypt:ymd5b5kzMYfac\n{sha512}\n\
         ann:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\nann+ci:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
         long:{}\nempty:\n{CAT}",
        "x".repeat(MAX_LINE)
    );
    let users = Users::parse(&text);
    assert!(users.password(&account("ann")).unwrap().text().starts_with("$2y$"), "the first line applies");
    let (names, unusable) = parsed(&text);
    assert_eq!(names, ["ann", "cat@example.org"]);
    let expected = [
        "line 2, without a `:`",
        "line 3, user \"bob\": a password in plain text",
        "line 4, user \"\": the name of an account cannot be empty",
        "line 5, user \"d an\"",
        "line 6, user \"crypt\": a DES crypt hash is not supported",
        "line 7, user \"sha\": a SHA-512 crypt hash",
        "line 8, user \"ann\": an earlier line is for this user",
        "line 9, user \"ann+ci\": a name with `+` is that of a robot",
        "line 10, longer than 2048 bytes",
        "line 11, user \"empty\": an empty password",
    ];
    assert_eq!(unusable.len(), expected.len(), "{unusable:?}");
    for (line, expected) in unusable.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
        for secret in ["secretpassword", "plainsecret", "ymd5b5kzMYfac", "8JssUx"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    let many: Vec<_> = (0..30).map(|line| format!("line {line}")).collect();
    assert!(first_of(many.iter().map(String::as_str), "; ").ends_with("line 9; and 20 more"));
}

#[test]
fn unusable_first_line_hides_later_ones() {
    let (names, unusable) = parsed(&format!("ann:$6$salt$hash\n{ANN}"));
    assert_eq!((names.len(), unusable.len()), (0, 2));
}

#[test]
fn file_with_bom_and_crlf_is_parsed() {
    let (names, unusable) = parsed(&format!("\u{feff}{ANN}\r\n\r\n# a comment\r\n{CAT}\r\n"));
    assert_eq!((names.len(), unusable.len()), (2, 0), "{unusable:?}");
}

#[test]
fn changed_file_is_reloaded_after_debounce() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passwd");
    fs::write(&path, format!("{ANN}\n{CAT}\n")).unwrap();
    let file = File::open(&path).unwrap();
    assert_eq!(file.users().len(), 2);
    assert!(file.poll().is_none(), "unchanged");

    // A removal takes effect even beside unusable lines.
    fs::write(&path, b"cat:\xff\xfe\nbroken\n".iter().chain(ANN.as_bytes()).copied().collect::<Vec<_>>())
        .unwrap();
    assert!(file.poll().is_none(), "the file may still be written");
    assert_eq!(file.poll().unwrap().len(), 1);
    assert!(file.poll().is_none());
    assert!(file.users().password(&account("cat@example.org")).is_none());

    fs::remove_file(&path).unwrap();
    assert!(file.poll().is_none());
    assert!(file.poll().is_none());
    assert_eq!(file.users().len(), 1, "the last users stay");

    fs::write(&path, format!("{CAT}\n")).unwrap();
    assert!(file.poll().is_none());
    assert!(file.poll().unwrap().password(&account("cat@example.org")).is_some());
    assert_eq!(file.users().len(), 1);
}

#[test]
fn missing_file_is_an_error_at_start() {
    let directory = tempfile::tempdir().unwrap();
    assert!(File::open(&directory.path().join("passwd")).is_err(), "the file is not there");
}
