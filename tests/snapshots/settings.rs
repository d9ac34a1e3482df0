//! The errors of a configuration: every setting with a wrong value, and every kind of mistake.

use std::fs;

use tempfile::TempDir;

use super::{assert_snapshot, failure, run, text};

/// Returns the errors of a configuration file.
fn errors_of(file: &str) -> String {
    let desk = TempDir::new().unwrap();
    fs::write(desk.path().join("wharfinger.toml"), file).unwrap();
    failure(desk.path(), &["config", "check"], &[])
}

/// Files with a wrong value: the first has it for each setting, the others for a key of an array of tables
/// each.
fn with_each(value: &str) -> Vec<String> {
    let desk = TempDir::new().unwrap();
    let example = text(&run(desk.path(), &["config", "example"], &[]).stdout);
    let (mut settings, mut tables, mut keys) = (String::new(), Vec::new(), Vec::new());
    for line in example.lines() {
        if line.starts_with('[') {
            settings += &format!("{line}\n");
        } else if let Some((key, _)) = line.strip_prefix("#  ").and_then(|line| line.split_once(" ("))
            && !key.starts_with(' ')
        {
            keys.push(key);
        } else if let Some((key, _)) = line.strip_prefix('#').and_then(|line| line.split_once(" = "))
            && !key.starts_with(' ')
        {
            settings += &format!("{key} = {value}\n");
            for wrong in keys.drain(..) {
                let others = required(key).iter().filter(|(other, _)| *other != wrong);
                let others: String = others.map(|(other, value)| format!("{other} = {value}\n")).collect();
                tables.push(format!("[[{key}]]\n{wrong} = {value}\n{others}"));
            }
        }
    }
    tables.insert(0, settings);
    tables
}

/// Returns the keys that each table of an array needs.
fn required(array: &str) -> &'static [(&'static str, &'static str)] {
    match array {
        "upstream" => &[("name", "\"a.example\""), ("url", "\"https://a.example\"")],
        "webhook" => &[("url", "\"https://a.example\"")],
        "immutable" | "protected" => &[("repositories", "\"**\""), ("tags", "\"*\"")],
        "quota" => &[("repositories", "\"**\""), ("bytes", "\"1GB\"")],
        "retention" => &[("repositories", "\"**\""), ("keep_newest", "1")],
        _ => &[],
    }
}

/// Returns the errors of files, if they are wrong.
fn errors_of_each(files: &[String]) -> String {
    let mut all = String::new();
    for file in files {
        let desk = TempDir::new().unwrap();
        fs::write(desk.path().join("wharfinger.toml"), file).unwrap();
        // Some keys take any text.
        if !run(desk.path(), &["config", "check"], &[]).status.success() {
            all += &failure(desk.path(), &["config", "check"], &[]);
        }
    }
    all
}

#[test]
fn wrong_values_match_the_snapshot() {
    // Times and sizes are texts, and no setting is a fraction.
    assert_snapshot("settings_with_a_fraction", &errors_of_each(&with_each("1.5")));
    assert_snapshot("settings_with_a_text", &errors_of_each(&with_each("\"?\"")));
}

#[test]
fn configuration_mistakes_match_the_snapshot() {
    let mut all = String::new();
    for file in [
        "lisen = \"127.0.0.1:5000\"\n",
        "[limit]\n",
        "[limits]\nheader = 5\n",
        "[tls.acm]\n",
        "colour = 1\n",
        "[colours]\n",
        "[log]\ndata = \"x\"\n",
        "listen = 127.0.0.1:5000\n",
        "[log\nlevel = \"info\"\n",
        "data = \"x\"\ndata = \"y\"\n",
        "[log]\n[log]\n",
        "\u{feff}listen = \"5000\"\n",
        "listen = \"127.0.0.1:70000\"\n",
        "[log]\nlevel = \"inof\"\n",
        "[limits]\nheader_timeout = 15\nblob_bytes = 0\nmanifest_bytes = \"8 megs\"\nconnections = 0\n",
        "[auth]\nhtpasswd = \"absent\"\n",
        "[tls]\ncertificate = \"absent.pem\"\n",
        "[tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"\n[tls.acme]\ndirectory = \"https://acme.example/\"\n",
        "[tls.acme]\ndirectory = \"https://acme.example/\"\n",
        "[tls]\nself_signed = [\"a b\"]\n",
        "[[upstream]]\nname = \"docker.io\"\n",
        "[[upstream]]\nname = \"docker.io\"\nurl = \"https://a.example\"\n[[upstream]]\nname = \"docker.io\"\nurl = \
         \"https://b.example\"\n",
        "[[upstream]]\nname = \"docker.io\"\nurl = \"https://a.example\"\nuser = \"ann\"\n",
        "[[webhook]]\nurl = \"http://\"\n",
        "[[retention]]\nrepositories = \"**\"\nkeep_newest = \"one\"\n",
        "[[quota]]\nbytes = \"1GB\"\n",
        "[[immutable]]\nrepositories = \"**\"\ntags = \"/(/\"\n",
        "[[immutable]]\nrepositories = []\ntags = \"v*\"\n",
        "[[protected]]\nrepositories = \"**\"\ntags = []\n",
        "[[retention]]\nrepositories = []\nkeep_newest = 1\n",
        "[gateway]\nupstream = \"registry:5000\"\n",
    ] {
        all += &format!("{}\n{}", file.trim_start_matches('\u{feff}'), errors_of(file));
    }
    let desk = TempDir::new().unwrap();
    for (words, variables) in [
        (&["config", "check"][..], &[("WHARFINGER_DATE", "x")][..]),
        (&["config", "check"], &[("WHARFINGER_LIMITS_HEADER_TIMEOUT", "15")]),
        (&["config", "check"], &[("WHARFINGER_OPEN", "yes")]),
        (&["config", "check"], &[("WHARFINGER_UPSTREAM", "[{")]),
        (&["config", "check"], &[("WHARFINGER_CONFIG", "absent.toml")]),
        (&["config", "check", "absent.toml"], &[]),
        (&["serve", "--config", "absent.toml"], &[]),
        (&["serve", "--log-level", "inof"], &[]),
        (&["serve", "--listen", "5000"], &[]),
        (&["serve", "--listen", ":5000"], &[]),
        (&["serve", "--upstream", "docker.io"], &[]),
        (&["serve", "--default-upstream", "docker.io"], &[]),
        (&["serve", "--admin", "ann"], &[]),
        (&["serve", "--admin-password-file", "absent"], &[]),
        (&["gateway"], &[]),
    ] {
        all += &failure(desk.path(), words, variables);
    }
    assert_snapshot("configuration", &all);
}
