//! docker: push, pull, pull --all-tags, search, tag, manifest lists.

use crate::harness::{Engine, Image, Index, Server, Terminal};

#[test]
fn docker_runs_a_pushed_and_pulled_image() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("official/ubuntu:14.04");
    engine.builds(&user, &image, "comes back");
    let id = image_id(&user, &image);

    let pushed = user.run(&format!("docker push {image}"));
    user.run(&format!("docker rmi {image}"));
    user.fails(&format!("docker image inspect {image}"));
    let pulled = user.run(&format!("docker pull {image}"));

    assert_eq!(id, image_id(&user, &image));
    assert_eq!(digest_in(&pushed), digest_in(&pulled));
    assert_eq!("comes back", user.run(&format!("docker run --rm --network=none {image}")));
}

#[test]
fn docker_pull_without_tag_takes_latest() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let name = registry.at("official/ubuntu");
    engine.builds(&user, &format!("{name}:14.04"), "fourteen");
    engine.builds(&user, &name, "newest");
    user.run(&format!("docker push {name}:14.04"));
    user.run(&format!("docker push {name}"));
    let newest = image_id(&user, &name);
    user.run(&format!("docker rmi {name}:14.04 {name}"));

    let pulled = user.run(&format!("docker pull {name}"));

    assert!(pulled.contains("Using default tag: latest"), "{pulled}");
    assert_eq!(newest, image_id(&user, &name));
    user.fails(&format!("docker image inspect {name}:14.04"));
}

#[test]
fn docker_pull_all_tags_brings_every_tag() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let name = registry.at("team/app");
    for tag in ["1", "2", "3", "latest"] {
        engine.builds(&user, &format!("{name}:{tag}"), &format!("release {tag}"));
    }
    user.run(&format!("docker push --all-tags {name}"));
    let tags = "docker images --format '{{.Tag}} {{.ID}}'";
    let before = user.run(&format!("{tags} {name} | sort"));
    user.run(&format!("docker rmi $(docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {name})"));

    user.run(&format!("docker pull --all-tags {name}"));

    assert_eq!(before, user.run(&format!("{tags} {name} | sort")));
    assert_eq!(4, before.lines().count());
}

#[test]
fn docker_pull_all_tags_follows_every_page() {
    let registry = Server::configured("[limits]\npage_entries = 25\n");
    let engine = Engine::shared();
    let user = engine.terminal();
    let name = registry.at("team/nightly");
    engine.builds(&user, &format!("{name}:0"), "every night");
    user.run(&format!("docker push {name}:0"));
    user.run(&format!(
        "curl -sSf -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' -o manifest \
         http://{address}/v2/team/nightly/manifests/0; \
         curl -sSf -o /dev/null -X PUT -H 'Content-Type: application/vnd.docker.distribution.manifest.v2+json' \
         --data-binary @manifest 'http://{address}/v2/team/nightly/manifests/night-[1-120]'",
        address = registry.address(),
    ));

    user.run(&format!("docker pull --quiet --all-tags {name}"));

    let tags = user.run(&format!("docker images --format '{{{{.Tag}}}}' {name}"));
    assert_eq!(121, tags.lines().count());
    user.run(&format!("docker rmi --force $(docker images --quiet {name}:0)"));
}

#[test]
fn docker_search_shows_descriptions() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    for repository in ["official/ubuntu", "ann/my-ubuntu-tools", "official/debian"] {
        let image = registry.at(repository);
        engine.builds(&user, &image, repository);
        user.run(&format!("docker push {image}"));
    }

    let search = "docker search --no-trunc --format '{{.Name}}: {{.Description}}'";
    let found = user.run(&format!("{search} {}", registry.at("ubuntu")));
    let nothing = user.run(&format!("{search} {}", registry.at("fedora")));

    assert!(
        found.lines().any(|line| line.ends_with("official/ubuntu: A small system to start from")),
        "{found}"
    );
    assert!(found.lines().any(|line| line.contains("ann/my-ubuntu-tools: ")), "{found}");
    assert_eq!(2, found.lines().count(), "{found}");
    assert_eq!("", nothing);
    let first = user.run(&format!("{search} --limit 1 {}", registry.at("ubuntu")));
    assert_eq!(1, first.lines().count(), "{first}");
}

#[test]
fn docker_mounts_layers_in_second_repository() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let first = registry.at("ann/tool:1");
    let second = registry.at("bob/tool:1");
    engine.builds(&user, &first, "shared by two");
    user.run(&format!("docker push {first}"));

    user.run(&format!("docker tag {first} {second}"));
    let pushed = user.run(&format!("docker push {second}"));
    let again = user.run(&format!("docker push {second}"));

    assert_eq!(3, pushed.matches("Mounted from ann/tool").count(), "{pushed}");
    assert_eq!(3, again.matches("Layer already exists").count(), "{again}");
    user.run(&format!("docker rmi {first} {second}"));
    user.run(&format!("docker pull {second}"));
}

#[test]
fn docker_pulls_one_platform_of_an_index() {
    let registry = Server::start();
    let user = Engine::shared().terminal();
    let image = registry.at("team/everywhere:1");
    Index::flat(&user, "everywhere", "one for each");
    user.run(&format!("skopeo copy --all --dest-tls-verify=false oci:everywhere:latest docker://{image}"));

    user.run(&format!("docker pull --platform linux/arm64 {image}"));

    let platform = "docker image inspect --format '{{.Os}}/{{.Architecture}}'";
    assert_eq!("linux/arm64", user.run(&format!("{platform} {image}")));
}

#[test]
fn docker_pulls_its_manifest_list_by_platform() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let list = registry.at("team/list:1");
    for (platform, content) in [("amd64", "for one"), ("arm64", "for the other")] {
        let image = registry.at(&format!("team/list:{platform}"));
        engine.builds(&user, &image, content);
        user.run(&format!("docker push {image}"));
    }

    let parts = ["amd64", "arm64"].map(|platform| registry.at(&format!("team/list:{platform}"))).join(" ");
    user.run(&format!("docker manifest create --insecure {list} {parts}"));
    user.run(&format!("docker manifest annotate --arch arm64 {list} {}", registry.at("team/list:arm64")));
    user.run(&format!("docker manifest push --insecure {list}"));
    user.run(&format!("docker pull --platform linux/arm64 {list}"));

    assert_eq!(
        "for the other",
        user.run(&format!("docker run --rm --network=none --platform linux/arm64 {list}"))
    );
    let kind = user.json(&format!("crane manifest {list}"))["mediaType"].clone();
    assert_eq!("application/vnd.docker.distribution.manifest.list.v2+json", kind);
}

#[test]
fn docker_pulls_by_digest() {
    let registry = Server::start();
    let engine = Engine::shared();
    let user = engine.terminal();
    let image = registry.at("team/app:1");
    engine.builds(&user, &image, "by digest");
    let id = image_id(&user, &image);
    let pushed = user.run(&format!("docker push {image}"));
    user.run(&format!("docker rmi {image}"));

    let exact = format!("{}@{}", registry.at("team/app"), digest_in(&pushed));
    user.run(&format!("docker pull {exact}"));

    assert_eq!(id, image_id(&user, &exact));
}

#[test]
fn docker_pull_of_unknown_image_says_not_found() {
    let registry = Server::start();
    let user = Engine::shared().terminal();
    Image::saved(&user, "app", "known");
    user.run(&format!("crane push app {}", registry.at("team/app:1")));

    let unknown_tag = user.fails(&format!("docker pull {}", registry.at("team/app:2")));
    let unknown_name = user.fails(&format!("docker pull {}", registry.at("no/such:image")));

    assert!(unknown_tag.contains("manifest for") && unknown_tag.contains("not found"), "{unknown_tag}");
    assert!(unknown_name.contains("no/such") && unknown_name.contains("not found"), "{unknown_name}");
}

fn image_id(user: &Terminal, image: &str) -> String {
    user.run(&format!("docker image inspect --format '{{{{.Id}}}}' {image}"))
}

/// Returns the manifest digest that `docker push` and `docker pull` print.
fn digest_in(output: &str) -> &str {
    let rest = &output[output.find("sha256:").unwrap_or_else(|| panic!("no digest in {output}"))..];
    rest.split_whitespace().next().unwrap_or_default()
}
