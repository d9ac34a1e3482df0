//! podman: push, pull, search.

use crate::harness::{Image, Server, Terminal};

#[test]
fn podman_pulls_the_image_it_pushed() {
    let registry = Server::start();
    let user = Terminal::open();
    let image = registry.at("team/app:1");
    Image::saved(&user, "app", "from podman");
    user.run("podman pull --quiet oci:app:latest");
    let id = user.run("podman images --quiet --no-trunc");

    user.run(&format!("podman push --tls-verify=false {id} {image}"));
    user.run(&format!("podman rmi {id}"));
    user.run(&format!("podman pull --tls-verify=false {image}"));

    assert_eq!(id, user.run(&format!("podman images --quiet --no-trunc {image}")));
}

#[test]
fn podman_pushes_both_manifest_formats() {
    let registry = Server::start();
    let user = Terminal::open();
    Image::saved(&user, "app", "in two formats");
    user.run("podman pull --quiet oci:app:latest");
    let id = user.run("podman images --quiet --no-trunc");

    for format in ["oci", "v2s2"] {
        let image = registry.at(&format!("team/app:{format}"));
        user.run(&format!("podman push --tls-verify=false --format {format} {id} {image}"));
        user.run(&format!("podman pull --tls-verify=false {image}"));
    }

    let kind = |tag| {
        user.json(&format!("crane manifest {}", registry.at(&format!("team/app:{tag}"))))["mediaType"].clone()
    };
    assert_eq!("application/vnd.oci.image.manifest.v1+json", kind("oci"));
    assert_eq!("application/vnd.docker.distribution.manifest.v2+json", kind("v2s2"));
}

#[test]
fn podman_pulls_and_lists_every_tag() {
    let registry = Server::start();
    let mut user = Terminal::open();
    let name = registry.at("team/app");
    Image::saved(&user, "app", "many names");
    for tag in ["a", "b", "latest"] {
        user.run(&format!("crane push --insecure app {name}:{tag}"));
    }

    // With --all-tags, podman 4 ignores --tls-verify, so the settings name the registry, as its manual
    // advises.
    let settings = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address());
    std::fs::write(user.path("registries.conf"), settings).expect("a settings file can be written");
    user.set("CONTAINERS_REGISTRIES_CONF", user.path("registries.conf").display().to_string());

    user.run(&format!("podman pull --all-tags {name}"));
    let listed =
        user.run(&format!("podman search --tls-verify=false --list-tags {name} | awk 'NR > 1 {{print $2}}'"));

    assert_eq!("a\nb\nlatest", user.run(&format!("podman images --format '{{{{.Tag}}}}' {name} | sort")));
    assert_eq!("a\nb\nlatest", listed);
}

#[test]
fn podman_search_shows_the_description() {
    let registry = Server::start();
    let user = Terminal::open();
    Image::saved(&user, "app", "to be found");
    for repository in ["official/ubuntu", "official/debian"] {
        user.run(&format!("crane push --insecure app {}", registry.at(repository)));
    }

    let found = user.run(&format!(
        "podman search --tls-verify=false --no-trunc --format '{{{{.Name}}}}: {{{{.Description}}}}' {}",
        registry.at("ubuntu")
    ));

    assert_eq!(format!("{}: A small system to start from", registry.at("official/ubuntu")), found);
}
