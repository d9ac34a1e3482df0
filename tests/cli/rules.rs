//! `history`, `undo`, `retention` and the quotas in `du`, with and without a running server.

use std::fs;

use crate::{Registry, pusher, run, success, text};

const RULES: &str = r#"
retention_minimum_age = "0s"

[[retention]]
repositories = "team/*"
tags = ["v*", "old"]
keep_newest = 0

[[immutable]]
repositories = "team/**"
tags = "keep-*"

[[quota]]
repositories = "team/**"
bytes = "1MiB"
tags = 9
"#;

impl Registry {
    /// Runs a command with the rules above.
    fn ruled(&self, command: &str) -> std::process::Output {
        let file = self.scratch.path().join("rules.toml");
        fs::write(&file, RULES).unwrap();
        let mut words: Vec<&str> = command.split(' ').collect();
        let data = self.data();
        words.extend(["--config", file.to_str().unwrap(), "--data", data.to_str().unwrap()]);
        run(&words, self.scratch.path())
    }

    fn ruled_json(&self, command: &str) -> serde_json::Value {
        serde_json::from_str(&success(command, &self.ruled(&format!("{command} --json")))).unwrap()
    }
}

#[test]
fn history_and_undo_work_with_and_without_server() {
    for registry in [Registry::serving(), Registry::at_rest()] {
        let digest = pusher::describe(1).manifest.to_string();
        registry.says("tag team/app-1:v1 team/app-1:stable");
        registry.says("rm team/app-1:stable");
        let history = registry.json("history team/app-1:stable");
        assert_eq!(history.as_array().unwrap().len(), 2, "{history}");
        assert_eq!(
            (&history[0]["from"], &history[0]["to"]),
            (&digest.as_str().into(), &serde_json::Value::Null)
        );
        assert_eq!(history[0]["account"], "(operator)");
        assert!(registry.says("history team/app-1").contains("(operator)"));

        let undone = registry.json("undo team/app-1:stable");
        assert_eq!(undone["to"], digest);
        registry.says(&format!("rm team/app-1@{digest}"));
        assert!(registry.says("undo team/app-1:v1").contains("is back"));
        let same = registry.says(&format!("undo team/app-1:v1 --to {digest}"));
        assert!(same.contains("already"), "{same}");
        assert!(registry.refuses("undo team/app-1:v1 --to 1970-01-02", 1).contains("did not exist"));
        assert!(registry.refuses("undo team/app-1:absent", 1).contains("no change of team/app-1:absent"));
        registry.refuses("undo team/app-1", 2);
        registry.refuses("undo", 2);
        registry.refuses("history team/app-1@sha256:00", 2);
        registry.refuses("undo --run absent", 1);
        assert!(registry.refuses("undo --run absent --to yesterday", 2).contains("cannot be used with"));
    }
}

#[test]
fn retention_run_is_previewed_and_taken_back() {
    let registry = Registry::at_rest();
    assert!(registry.says("retention preview").starts_with("no retention rule is about a repository"));
    registry.says("tag team/app-1:v1 team/app-1:keep-1");
    let preview = registry.ruled_json("retention preview");
    assert_eq!(preview["deleted"][0]["tag"], "v1");
    assert_eq!(registry.json("ls team/app-1").as_array().unwrap().len(), 2);
    let run = registry.ruled_json("retention run --repository team/app-1");
    assert_eq!(run["deleted"], preview["deleted"]);
    assert_eq!(registry.json("ls team/app-1").as_array().unwrap().len(), 1);
    let id = run["run"].as_str().unwrap();
    let undone = registry.ruled_json(&format!("undo --run {id}"));
    assert_eq!(undone["restored"], 1);
    assert_eq!(registry.ruled_json(&format!("undo --run {id}")), undone, "it is back already");
    let said = success("undo --run", &registry.ruled(&format!("undo --run {id}")));
    assert!(said.contains("unless the rules change"), "{said}");
    assert_eq!(registry.json("ls team/app-1").as_array().unwrap().len(), 2);
    let refused = registry.ruled("rm team/app-1:keep-1");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("is immutable"), "{}", text(&refused.stderr));
    let said = success("retention run", &registry.ruled("retention run"));
    assert!(said.contains("wharfinger undo --run") && said.contains("takes it back until 2"), "{said}");
    let other = registry.ruled("retention preview --repository other");
    assert!(success("retention preview", &other).starts_with("no retention rule is about other:"));
}

#[test]
fn retention_rule_that_keeps_nothing_is_warned_of() {
    let registry = Registry::at_rest();
    registry.says("tag team/app-1:v1 team/app-1:old");
    let file = registry.scratch.path().join("nothing.toml");
    fs::write(&file, format!("{RULES}\n[gc]\ngrace = \"0s\"\n")).unwrap();
    let (file, data) = (file.to_str().unwrap(), registry.data());
    let checked = success("config check", &run(&["config", "check", file], registry.scratch.path()));
    assert!(checked.contains("retention rule 1 keeps nothing") && checked.contains("team/*"), "{checked}");
    let words = ["retention", "run", "--config", file, "--data", data.to_str().unwrap()];
    let said = success("retention run", &run(&words, registry.scratch.path()));
    assert!(said.contains("undo --run") && said.contains("only until the next collection"), "{said}");
}

#[test]
fn du_shows_quotas() {
    let registry = Registry::at_rest();
    let usage = registry.ruled_json("du");
    let quota = &usage["quotas"][0];
    assert_eq!((&quota["scope"], &quota["max_bytes"]), (&"repositories team/**".into(), &1_048_576.into()));
    assert_eq!((&quota["bytes"], &quota["tags"]), (&usage["bytes"], &1.into()));
    assert!(success("du", &registry.ruled("du")).contains("repositories team/**"));
}

#[test]
fn rules_with_mistakes_are_refused() {
    let registry = Registry::at_rest();
    for (rules, told) in [
        ("[[retention]]\nrepositories = \"a\"", "needs `keep_newest`"),
        ("[[retention]]\nrepositories = \"a\"\ntags = \"/v[/\"\nkeep_newest = 1", "not a regular expression"),
        ("[[quota]]\nbytes = \"1GB\"", "needs `repositories` or `owner`"),
        ("[[quota]]\nowner = \"ann\"", "needs `bytes` or `tags`"),
        ("[[immutable]]\nrepositories = \"a\"", "`tags` is missing"),
        ("retention_schedule = \"daily\"", "not a cron schedule"),
        ("[storage]\nreserve = \"200%\"", "99%"),
    ] {
        let file = registry.scratch.path().join("wrong.toml");
        fs::write(&file, rules).unwrap();
        let output = run(&["config", "check", "--config", file.to_str().unwrap()], registry.scratch.path());
        assert!(!output.status.success(), "{rules}");
        assert!(text(&output.stderr).contains(told), "{rules}: {}", text(&output.stderr));
    }
}
