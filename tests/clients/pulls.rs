//! The last pull that `ls` and `inspect` show, and that retention uses, when the engine has the image
//! already.
//!
//! docker and containerd then ask for the tag by HEAD, and send no GET.

use serde_json::Value;

use crate::harness::{Containerd, Engine, Image, Index, Server, Terminal};

/// Pulls of the last 10 s protect a tag. The push counts as well, so that a tag that nobody pulls goes 10 s
/// later.
const RULES: &str = r#"
retention_minimum_age = "0s"

[[retention]]
repositories = "team/**"
tags = "*"
keep_pulled_within = "10s"
"#;

/// Attempts until the clock shows another second.
const ATTEMPTS: usize = 200;

fn tag(registry: &Server, repository: &str, tag: &str) -> Value {
    let listed: Value =
        serde_json::from_str(&registry.says(&format!("ls {repository} --json"))).expect("JSON");
    let tags = listed.as_array().expect("a list of tags");
    tags.iter().find(|entry| entry["tag"] == tag).expect("the tag").clone()
}

fn pulled_at(entry: &Value) -> u64 {
    entry["pulled_at"].as_u64().unwrap_or_else(|| panic!("a time of the last pull in {entry}"))
}

/// Repeats a pull of an image that the engine has until its last pull is a later one. Returns the entry of
/// the tag.
fn repeats(user: &Terminal, registry: &Server, repository: &str, pull: &str) -> Value {
    let first = tag(registry, repository, "1");
    for _ in 0..ATTEMPTS {
        user.run(pull);
        let entry = tag(registry, repository, "1");
        if pulled_at(&entry) > pulled_at(&first) {
            return entry;
        }
    }
    panic!("the last pull stays at that of {first}:\n{}", registry.log());
}

/// Pulls a new image, the same again, and a second tag whose layers the engine has.
fn last_pull_is_right(user: &Terminal, registry: &Server, repository: &str, pull: impl Fn(&str) -> String) {
    for name in ["1", "2"] {
        user.run(&format!("crane tag {} {name}", registry.at(&format!("{repository}:first"))));
    }
    Image::saved(user, "idle", "that nobody pulls");
    user.run(&format!("crane push idle {}", registry.at(&format!("{repository}:idle"))));
    assert_eq!(tag(registry, repository, "1")["pulled_at"], Value::Null);
    user.run(&pull("1"));
    let first = tag(registry, repository, "1");
    assert_eq!(first["pulls"], 1, "{first}");
    let again = repeats(user, registry, repository, &pull("1"));
    assert_eq!(again["pulls"], 1, "the engine has it: {again}\n{}", registry.log());
    user.run(&pull("2"));
    let second = tag(registry, repository, "2");
    assert!(pulled_at(&second) >= pulled_at(&again), "{second}");
    assert_eq!(tag(registry, repository, "idle")["pulled_at"], Value::Null);

    let shown = registry.says(&format!("ls {repository}"));
    assert!(shown.lines().any(|line| line.starts_with("idle") && line.contains("never")), "{shown}");
    let shown = registry.says(&format!("inspect {repository}:1"));
    assert!(!shown.contains("never"), "{shown}");

    // Only the pull keeps a tag when its push is long ago.
    for _ in 0..ATTEMPTS {
        user.run(&pull("1"));
        let preview: Value =
            serde_json::from_str(&registry.says("retention preview --json")).expect("a report as JSON");
        let deleted: Vec<_> = preview["deleted"].as_array().expect("a list").iter().collect();
        assert!(deleted.iter().all(|entry| entry["tag"] != "1"), "{preview}");
        if deleted.iter().any(|entry| entry["tag"] == "idle") {
            return;
        }
    }
    panic!("no tag is old enough: {}", registry.says(&format!("ls {repository} --json")));
}

#[test]
fn docker_pull_of_a_known_image_counts_as_use() {
    let registry = Server::configured(RULES);
    let engine = Engine::shared();
    let user = engine.terminal();
    Image::saved(&user, "image", "that docker has already");
    user.run(&format!("crane push image {}", registry.at("team/docker:first")));
    last_pull_is_right(&user, &registry, "team/docker", |tag| {
        format!("docker pull {}", registry.at(&format!("team/docker:{tag}")))
    });
}

#[test]
fn containerd_1_pull_of_a_known_image_counts_as_use() {
    let registry = Server::configured(RULES);
    let engine = Engine::shared();
    let user = engine.terminal();
    Index::flat(&user, "everywhere", "that containerd has already");
    user.run(&format!("crane push --index everywhere {}", registry.at("team/one:first")));
    let images = format!("ctr --address {} --namespace pulls images", engine.containerd().display());
    last_pull_is_right(&user, &registry, "team/one", |tag| {
        format!("{images} pull --plain-http --all-platforms {}", registry.at(&format!("team/one:{tag}")))
    });
}

#[test]
fn containerd_2_pull_of_a_known_image_counts_as_use() {
    let registry = Server::configured(RULES);
    let containerd = Containerd::start();
    let user = Terminal::open();
    Index::flat(&user, "everywhere", "that containerd 2 has already");
    user.run(&format!("crane push --index everywhere {}", registry.at("team/two:first")));
    let images = format!("ctr2 --address {} images", containerd.socket().display());
    last_pull_is_right(&user, &registry, "team/two", |tag| {
        format!("{images} pull --plain-http --all-platforms {}", registry.at(&format!("team/two:{tag}")))
    });
}
