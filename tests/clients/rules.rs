//! Refusals by the operator's rules, as docker, podman, crane and skopeo show them.

use crate::harness::{Engine, Image, Server, Terminal};

const RULES: &str = r#"
[[immutable]]
repositories = "team/**"
tags = "v*"

[[quota]]
repositories = "small/**"
bytes = "2KiB"

[[quota]]
repositories = "few/**"
tags = 1
"#;

const IMMUTABLE: &str = "the tag v1 of team/app is immutable";
const BYTES: &str = "the quota of repositories small/** is exceeded";
const TAGS: &str = "1 of 1 tag used";

#[test]
fn docker_shows_why_a_push_is_refused() {
    let registry = Server::configured(RULES);
    let engine = Engine::shared();
    let user = engine.terminal();
    let immutable = registry.at("team/app:v1");
    engine.builds(&user, &immutable, "first");
    user.run(&format!("docker push {immutable}"));
    user.run(&format!("docker push {immutable}"));
    engine.builds(&user, &immutable, "second");
    let shown = user.fails(&format!("docker push {immutable}"));
    assert!(shown.contains(IMMUTABLE), "{shown}");
    let small = registry.at("small/app:1");
    user.run(&format!("docker tag {immutable} {small}"));
    let shown = user.fails(&format!("docker push {small}"));
    assert!(shown.contains(BYTES), "{shown}");
    let few = registry.at("few/app");
    user.run(&format!("docker tag {immutable} {few}:1 && docker push {few}:1"));
    let shown = user.fails(&format!("docker tag {immutable} {few}:2 && docker push {few}:2"));
    assert!(shown.contains(TAGS), "{shown}");
}

#[test]
fn crane_shows_why_a_change_is_refused() {
    let registry = Server::configured(RULES);
    let user = Terminal::open();
    Image::saved(&user, "one", "first");
    Image::saved(&user, "two", "second");
    let name = registry.at("team/app");
    user.run(&format!("crane push one {name}:v1 && crane push one {name}:v1"));
    user.run(&format!("crane push two {name}:other"));
    for command in [
        format!("crane push two {name}:v1"),
        format!("crane tag {name}:other v1"),
        format!("crane delete {name}:v1"),
    ] {
        let shown = user.fails(&command);
        assert!(shown.contains(IMMUTABLE), "{command}: {shown}");
    }
    let shown = user.fails(&format!("crane push two {}", registry.at("small/app:1")));
    assert!(shown.contains(BYTES), "{shown}");
    let few = registry.at("few/app");
    user.run(&format!("crane push one {few}:1"));
    let shown = user.fails(&format!("crane push one {few}:2"));
    assert!(shown.contains(TAGS), "{shown}");
}

#[test]
fn podman_shows_why_a_push_is_refused() {
    let registry = Server::configured(RULES);
    let user = Terminal::open();
    let [one, two] = ["one", "two"].map(|name| {
        Image::saved(&user, name, name);
        user.run(&format!("podman pull --quiet oci:{name}:latest"))
    });
    let push = |id: &str, name: &str| format!("podman push --tls-verify=false {id} {}", registry.at(name));
    user.run(&push(&one, "team/app:v1"));
    user.run(&push(&one, "few/app:1"));
    for (id, name, told) in
        [(&two, "team/app:v1", IMMUTABLE), (&two, "small/app:1", BYTES), (&one, "few/app:2", TAGS)]
    {
        // podman ends with status 125.
        let shown = user.fails(&format!("{} || exit 1", push(id, name)));
        assert!(shown.contains(told), "{name}: {shown}");
    }
}

#[test]
fn skopeo_shows_why_a_change_is_refused() {
    let registry = Server::configured(RULES);
    let user = Terminal::open();
    Image::saved(&user, "one", "first");
    Image::saved(&user, "two", "second");
    let copy = |layout: &str, name: &str| {
        format!("skopeo copy --dest-tls-verify=false oci:{layout} docker://{}", registry.at(name))
    };
    user.run(&copy("one", "team/app:v1"));
    for (name, told) in [("team/app:v1", IMMUTABLE), ("small/app:1", BYTES)] {
        let shown = user.fails(&copy("two", name));
        assert!(shown.contains(told), "{shown}");
    }
    let shown =
        user.fails(&format!("skopeo delete --tls-verify=false docker://{}", registry.at("team/app:v1")));
    assert!(shown.contains(IMMUTABLE), "{shown}");
}
